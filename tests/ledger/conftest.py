"""Fixtures of the ledger's tests."""

from collections.abc import AsyncIterator

import pytest

from services.chassis.mongodb.client import Mongo
from tests.ledger.harness import Harness, open_mongo


@pytest.fixture(scope="module")
async def mongo(mongodb_uri: str) -> AsyncIterator[Mongo]:
    """A database of this module."""
    async with open_mongo(mongodb_uri) as mongo:
        yield mongo


@pytest.fixture(scope="module")
async def fast_mongo(mongodb_uri: str) -> AsyncIterator[Mongo]:
    """A database of this module, with the driver that takes less time."""
    async with open_mongo(mongodb_uri, "pymongo") as mongo:
        yield mongo


@pytest.fixture
def harness(mongo: Mongo) -> Harness:
    """The flows; tests of a module share the database, so each uses a site of its own."""
    return Harness(mongo)
