"""A service does not start with another key of page tokens than before: clients could not go on where they stopped."""

from base64 import b64encode
from typing import Any
from uuid import uuid4

import pytest

from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.background import StartupTask
from services.fulfilment.app import build as build_fulfilment
from services.fulfilment.settings import Settings as FulfilmentSettings
from services.ledger.app import build as build_ledger
from services.ledger.settings import Settings as LedgerSettings
from services.status.app import build as build_status
from services.status.settings import Settings as StatusSettings
from services.webhooks.app import build as build_webhooks
from services.webhooks.settings import Settings as WebhooksSettings

KEY = b64encode(b"k" * 32).decode()
OTHER_KEYS = dict.fromkeys(
    ("erasure_key", "code_encryption_keys", "code_digest_key", "webhooks_encryption_keys", "webhooks_signing_keys"), KEY
)
SERVICES: dict[str, tuple[Any, Any]] = {
    "status": (build_status, StatusSettings),
    "fulfilment": (build_fulfilment, FulfilmentSettings),
    "ledger": (build_ledger, LedgerSettings),
    "webhooks": (build_webhooks, WebhooksSettings),
}


@pytest.fixture
def database() -> str:
    return f"t{uuid4().hex[:12]}"


async def prepare(name: str, uri: str, database: str, **changes: str) -> StartupTask:
    """Build a service, with some other settings, and run its startup task once."""
    build, settings = SERVICES[name]
    values = {"mongodb_uri": uri, "mongodb_database": database, **OTHER_KEYS, **changes}
    known = {key: value for key, value in values.items() if key in settings.model_fields}
    service = await build(settings.model_validate(known))
    (startup,) = [part for part in service.components if isinstance(part, StartupTask)]
    await startup.run_once()
    for part in service.components:
        if isinstance(part, Mongo):
            await part.stop()
    return startup


async def test_another_key_ends_the_process(mongodb_uri: str, database: str) -> None:
    for number, name in enumerate(SERVICES):
        own = f"a key of sixteen {number}"
        assert (await prepare(name, mongodb_uri, database, page_token_key=own)).is_done
        changed = await prepare(name, mongodb_uri, database, page_token_key="another key of sixteen")
        assert changed.failure is not None
        assert changed.failure.setting == "PAGE_TOKEN_KEY"
        assert (await prepare(name, mongodb_uri, database, page_token_key=own)).is_done
