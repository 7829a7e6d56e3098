"""Defaults of the settings, and invalid settings that are reported at start."""

import base64
from datetime import timedelta

import pytest

from services.chassis.runtime.settings import load
from services.fulfilment.domain.invoice import Issuer
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


def test_texts_of_the_issuer_may_have_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().issuer == Issuer(name="Tillstream")
    texts = {
        "INVOICE_ISSUER": "Us & Co",
        "INVOICE_ISSUER_ADDRESS": "1 Main St\\nTown",
        "INVOICE_ISSUER_TAX_ID": "DE 1",
        "INVOICE_BANK": "IBAN 1\r\nBIC 2\n",
        "INVOICE_TERMS": " ",
    }
    for name, value in texts.items():
        monkeypatch.setenv(name, value)
    assert Settings().issuer == Issuer(
        name="Us & Co", address="1 Main St\nTown", tax_id="DE 1", bank="IBAN 1\nBIC 2", terms=None
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CODE_ENCRYPTION_KEYS", f"{KEY},c2VjcmV0"),
        ("CODE_DIGEST_KEY", "c2VjcmV0"),
        ("SMTP_URL", "http://me:c2VjcmV0@mail.example"),
        ("FULFILMENT_DEADLINE", "PT0S"),
        ("INVOICE_ISSUER", "Us\nBcc: c2VjcmV0"),
        ("INVOICE_ISSUER", " "),
        ("INVOICE_ISSUER_TAX_ID", "1\n2"),
        ("INVOICE_BANK", "IBAN\x07"),
        ("INVOICE_TERMS", "1\\n2\\n3\\n4\\n5\\n6\\n7\\n8\\n9"),
        ("INVOICE_ISSUER_ADDRESS", "a" * 513),
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
