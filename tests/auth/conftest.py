from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from services.auth.adapters.key_wrapper import KeyWrapper
from services.auth.adapters.stores import create_indexes
from services.auth.domain.signing import SigningKey
from services.auth.flows.key_rotation import ensure_current_key
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.settings import MongoSettings
from tests.auth.fakes import Clock, FakeClientStore
from tests.auth.harness import ENCRYPTION_KEY, AuthHarness, ManagementHarness, a_client


@pytest.fixture(scope="session")
async def first_key() -> SigningKey:
    """A real key pair; shared, because generating one is slow."""
    created_at = int(Clock().at)
    return await KeyWrapper(ENCRYPTION_KEY, "RS256").generate(number=1, created_at=created_at, signs_from=created_at)


@pytest.fixture
async def auth(first_key: SigningKey) -> AuthHarness:
    """Auth with one client and a signing key."""
    clients = FakeClientStore()
    await clients.save(a_client())
    harness = AuthHarness(clients)
    await harness.key_rotation.keys.add(first_key)
    await ensure_current_key(harness.key_rotation)
    return harness


@pytest.fixture
def harness() -> ManagementHarness:
    return ManagementHarness()


@pytest.fixture(params=["motor", "pymongo"])
async def mongo(request: pytest.FixtureRequest, mongodb_uri: str) -> AsyncIterator[Mongo]:
    """An empty database of the test's own, through each driver."""
    settings = MongoSettings(
        mongodb_uri=mongodb_uri,
        mongodb_database=f"auth-{uuid4().hex[:12]}",
        mongo_driver=request.param,
    )
    mongo = Mongo.connect(settings)
    await create_indexes(mongo)
    yield mongo
    await mongo.client.drop_database(settings.mongodb_database)
    await mongo.close()
