"""Defaults of the settings, and invalid settings that are reported at start."""

import base64
from datetime import timedelta

import pytest

from services.chassis.runtime.settings import load
from services.fulfilment.settings import Settings

KEY = base64.b64encode(b"k" * 32).decode()
PROMISED = {
    "fulfilment_deadline": timedelta(days=7),
    "fulfilment_reads_per_second": 10,
    "fulfilment_orders_per_second": 10,
    "closing_grace_s": 2.0,
    "simulated_supplier": False,
}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODE_ENCRYPTION_KEYS", KEY)
    monkeypatch.setenv("CODE_DIGEST_KEY", KEY)


def test_what_the_documents_promise() -> None:
    settings = Settings()
    assert {name: getattr(settings, name) for name in PROMISED} == PROMISED


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CODE_ENCRYPTION_KEYS", f"{KEY},c2VjcmV0"),
        ("CODE_DIGEST_KEY", "c2VjcmV0"),
        ("SMTP_URL", "http://me:c2VjcmV0@mail.example"),
        ("FULFILMENT_DEADLINE", "PT0S"),
        ("FULFILMENT_READS_PER_SECOND", "0"),
    ],
)
def test_mistakes_are_reported_and_secrets_are_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        load(Settings)
    reported = capsys.readouterr().err
    assert name in reported
    assert "c2VjcmV0" not in reported
