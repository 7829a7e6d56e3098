"""Shops: in memory, and on MongoDB with either driver."""

from collections.abc import AsyncIterator

import pytest

from tests.fulfilment.shop import Shop, a_memory_shop, a_mongo_shop


@pytest.fixture(params=["memory", "motor", "pymongo"])
async def shop(request: pytest.FixtureRequest) -> AsyncIterator[Shop]:
    """Each test that asks for a shop runs on all three."""
    if request.param == "memory":
        yield a_memory_shop()
        return
    async with a_mongo_shop(request.getfixturevalue("mongodb_uri"), request.param) as opened:
        yield opened


@pytest.fixture
async def mongo_shop(mongodb_uri: str) -> AsyncIterator[Shop]:
    async with a_mongo_shop(mongodb_uri, "motor") as opened:
        yield opened


@pytest.fixture
def memory_shop() -> Shop:
    return a_memory_shop()
