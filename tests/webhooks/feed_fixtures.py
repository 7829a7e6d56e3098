"""Feeds in memory and in MongoDB, with both drivers: all run the same cases."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest

from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.settings import MongoSettings
from services.webhooks.adapters.feed_store import MongoFeedStore
from services.webhooks.flows.append_events import Deps
from tests.webhooks.events import NOON_US
from tests.webhooks.fakes import FakeNotifier, MemoryFeed

Feed = MemoryFeed | MongoFeedStore


@asynccontextmanager
async def temporary_mongo(uri: str, driver: str = "motor") -> AsyncIterator[Mongo]:
    name = f"t{uuid4().hex[:12]}"
    mongo = Mongo.connect(MongoSettings(mongodb_uri=uri, mongodb_database=name, mongo_driver=driver))
    try:
        yield mongo
    finally:
        await mongo.client.drop_database(name)
        await mongo.close()


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
