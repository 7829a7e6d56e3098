"""Feeds in memory and in MongoDB, with both drivers: all run the same cases."""

from collections.abc import AsyncIterator

import pytest

from services.chassis.mongodb.client import Mongo
from services.webhooks.adapters.feed_store import MongoFeedStore
from services.webhooks.flows.append_events import Deps
from tests.support.databases import temporary_mongo
from tests.webhooks.events import NOON_US
from tests.webhooks.fakes import FakeNotifier, MemoryFeed

Feed = MemoryFeed | MongoFeedStore


@pytest.fixture
async def mongo(mongodb_uri: str) -> AsyncIterator[Mongo]:
    async with temporary_mongo(mongodb_uri) as mongo:
        yield mongo


@pytest.fixture(params=["memory", "motor", "pymongo"])
async def feed(request: pytest.FixtureRequest) -> AsyncIterator[Feed]:
    if request.param == "memory":
        yield MemoryFeed()
        return
    async with temporary_mongo(request.getfixturevalue("mongodb_uri"), request.param) as mongo:
        store = MongoFeedStore(mongo)
        await store.create_indexes(retention_days=30)
        yield store


def append_deps(feed: Feed, *, now_us: int = NOON_US) -> Deps:
    return Deps(feed=feed, notifier=FakeNotifier(), now_us=lambda: now_us)
