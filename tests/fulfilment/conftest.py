"""Fixtures: the flows on fake stores, and on MongoDB with either driver."""

from collections.abc import AsyncIterator

import pytest

from tests.fulfilment.harness import Harness, build_memory_harness, open_mongo_harness


@pytest.fixture(params=["memory", "motor", "pymongo"])
async def harness(request: pytest.FixtureRequest) -> AsyncIterator[Harness]:
    """Run the test on all three kinds of stores."""
    if request.param == "memory":
        yield build_memory_harness()
        return
    async with open_mongo_harness(request.getfixturevalue("mongodb_uri"), request.param) as opened:
        yield opened


@pytest.fixture
async def mongo_harness(mongodb_uri: str) -> AsyncIterator[Harness]:
    async with open_mongo_harness(mongodb_uri, "motor") as opened:
        yield opened


@pytest.fixture
def memory_harness() -> Harness:
    return build_memory_harness()
