"""F20: every service judges by the brokers' clock whether a token has expired."""

from typing import Any

import pytest

from services.chassis.kafka.broker_clock import BrokerClock
from services.chassis.security import access
from services.chassis.security.tokens import TokenVerifier
from services.ingest.app import build as build_ingest
from services.ingest.settings import Settings as IngestSettings
from tests.deploy.test_page_token_keys import OTHER_KEYS, SERVICES

ALL = {**SERVICES, "ingest": (build_ingest, IngestSettings)}


@pytest.mark.parametrize("name", ALL)
async def test_tokens_expire_by_the_brokers_clock(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks: the local clock is three hours ahead, so that every token would be refused, or behind."""
    made: list[dict[str, Any]] = []

    class RecordingVerifier(TokenVerifier):
        def __init__(self, keys: Any, **options: Any) -> None:
            made.append(options)
            super().__init__(keys, **options)

    monkeypatch.setattr(access, "TokenVerifier", RecordingVerifier)
    monkeypatch.setattr(BrokerClock, "now_s", lambda _: 1e9)
    build, settings = ALL[name]
    await build(settings.model_validate({key: OTHER_KEYS[key] for key in OTHER_KEYS if key in settings.model_fields}))
    (options,) = made
    assert options["now"]() == 1e9
