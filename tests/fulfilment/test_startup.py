"""Nothing is accepted before the guards exist that the guarantees rely on: unique indexes, and the checks of keys."""

import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from structlog.testing import capture_logs

from services.chassis.kafka.broker_clock import BrokerClock
from services.chassis.runtime.settings import REPOSITORY
from services.chassis.security.authentication import RequestAuthenticator
from services.chassis.security.sites import Sites
from services.fulfilment.app import Components, build_http
from services.fulfilment.settings import Settings
from tests.fulfilment.api_fixtures import FakeVerifier
from tests.fulfilment.harness import SCHEMAS

KEY, OTHER_KEY = (base64.b64encode(letter * 32).decode() for letter in (b"k", b"o"))
ORDERS = "/fulfilment/v1/orders"


def connect(uri: str, database: str, **changes: Any) -> Components:
    values = {
        "mongodb_uri": uri,
        "mongodb_database": database,
        "code_encryption_keys": KEY,
        "code_digest_key": KEY,
        "schemas_dir": REPOSITORY / "schemas",
        "http_port": 0,
        **changes,
    }
    return Components(Settings(**values), SCHEMAS)


@pytest.fixture
async def components(mongodb_uri: str) -> AsyncIterator[Components]:
    """The components on an empty database; nothing is started."""
    name = f"t{uuid4().hex[:12]}"
    components = connect(mongodb_uri, name)
    yield components
    await components.mongo.client.drop_database(name)
    await components.mongo.close()


async def restart(components: Components, **changes: Any) -> Components:
    """Run the startup of another process on the same database."""
    settings = components.settings
    other = connect(settings.mongodb_uri.get_secret_value(), settings.mongodb_database, **changes)
    await other.startup.run_once()
    await other.mongo.close()
    return other


async def status_of_order(components: Components) -> tuple[int, str]:
    """Send an order of a customer that is not configured; return status and code of the response."""
    components.security.authenticator = RequestAuthenticator(FakeVerifier(), Sites(SCHEMAS))  # type: ignore[arg-type]
    server = build_http(components)
    await server.start()
    try:
        async with (
            aiohttp.ClientSession(f"http://{server.address}") as session,
            session.post(ORDERS, json={"products": []}, headers={"Authorization": "Bearer good"}) as response,
        ):
            assert response.status != 503 or response.headers["Retry-After"]
            return response.status, (await response.json(content_type=None))["code"]
    finally:
        await server.stop()


async def test_no_order_is_accepted_before_the_indexes_exist(components: Components) -> None:
    assert await status_of_order(components) == (503, "UNAVAILABLE")
    await components.startup.run_once()
    assert await status_of_order(components) == (403, "FORBIDDEN")


DUPLICATES = {
    "transactions": ({"unique_order_number": "608:n"}, {"$unset": {"unique_order_number": ""}}),
    "codes": ({"slot": "t:000:0000", "sku": "CARD"}, {"$unset": {"slot": ""}, "$set": {"duplicate_slot": True}}),
}


@pytest.mark.parametrize("collection", DUPLICATES)
async def test_duplicates_are_reported_once_and_nothing_is_accepted_until_they_are_removed(
    components: Components, collection: str
) -> None:
    """Breaks: a restored database without indexes has duplicates. The runbook's update of the later one mends it."""
    fields, mend = DUPLICATES[collection]
    documents: Any = components.mongo.collection(collection)
    await documents.insert_many([{"_id": name, "sequence": number, **fields} for number, name in enumerate("ab")])
    with capture_logs() as lines:
        for _ in range(3):
            await components.startup.run_once()
    assert not components.startup.is_done
    (line,) = lines
    assert (line["event"], line["dependency"].split()[-1]) == ("waiting for a dependency", collection)
    assert await status_of_order(components) == (503, "UNAVAILABLE")
    await documents.update_one({"_id": "b"}, mend)
    await components.startup.run_once()
    assert components.startup.is_done


async def test_a_changed_digest_key_ends_the_process(components: Components) -> None:
    """With another key, known codes would be loaded as new ones and sold twice."""
    await components.startup.run_once()
    changed = await restart(components, code_digest_key=OTHER_KEY)
    assert not changed.startup.is_done
    assert changed.startup.failure is not None
    assert changed.startup.failure.setting == "CODE_DIGEST_KEY"
    assert (await restart(components)).startup.is_done


async def test_a_removed_encryption_key_ends_the_process(components: Components) -> None:
    """Codes that it sealed could no longer be opened."""
    await components.startup.run_once()
    rotated = await restart(components, code_encryption_keys=f"{OTHER_KEY},{KEY}")
    assert rotated.startup.is_done
    for keys in (KEY, OTHER_KEY):
        removed = await restart(components, code_encryption_keys=keys)
        assert removed.startup.failure is not None
        assert removed.startup.failure.setting == "CODE_ENCRYPTION_KEYS"


def test_idempotency_keys_are_dated_by_the_brokers_clock(
    components: Components, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F20. Breaks: the local clock is a day behind: MongoDB removes keys at once, and orders sent again are doubled."""
    monkeypatch.setattr(BrokerClock, "now_s", lambda _: 1e9)
    assert components.idempotency._now() == datetime.fromtimestamp(1e9, UTC)
