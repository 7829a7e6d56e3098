"""Readers wait without queries, and are woken by what any replica appends."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import ClassVar

import pytest
from pymongo import monitoring

from services.chassis.mongodb import client
from services.chassis.mongodb.client import Mongo
from services.webhooks.adapters.feed_store import MongoFeedStore
from services.webhooks.adapters.notifier import FeedChangeListener
from services.webhooks.flows.append_events import append_events
from tests.chassis.eventually import until
from tests.webhooks.api_fixtures import FeedClient, build_client
from tests.webhooks.events import an_event
from tests.webhooks.feed_fixtures import append_deps, temporary_mongo

BOTH_DRIVERS = ("motor", "pymongo")


class QueryRecorder(client.PoolMetrics, monitoring.CommandListener):
    """Records the commands that read; a change stream's `getMore` is how MongoDB tells of changes."""

    queries: ClassVar[list[str]] = []
    change_stream_polls = 0

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name == "getMore":
            QueryRecorder.change_stream_polls += 1
        elif event.command_name in {"find", "aggregate", "count", "distinct"}:
            self.queries.append(event.command_name)

    @classmethod
    async def pass_time(cls) -> None:
        """Return after two seconds of the change stream."""
        end = cls.change_stream_polls + 4
        await until(lambda: cls.change_stream_polls >= end)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Do nothing."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Do nothing."""


class Replica:
    """A replica's API over MongoDB, with its change stream."""

    def __init__(self, mongo: Mongo, api: FeedClient) -> None:
        self.mongo, self.api = mongo, api
        self.listener = FeedChangeListener(mongo, api.notifier, clock_s=time.monotonic)


@pytest.fixture(params=BOTH_DRIVERS)
async def replica(
    request: pytest.FixtureRequest, mongodb_uri: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Replica]:
    monkeypatch.setattr(client, "PoolMetrics", QueryRecorder)
    async with temporary_mongo(mongodb_uri, request.param) as mongo:
        store = MongoFeedStore(mongo)
        await store.create_indexes(retention_days=30)
        api = await build_client(store, max_waiters=1_000)
        replica = Replica(mongo, api)
        yield replica
        await api.notifier.stop()
        await replica.listener.stop()
        await api.client.close()


async def wait_together(replica: Replica, readers: int) -> None:
    """Let many wait; nothing is queried while nothing happens; all are woken by another replica's event."""
    api = replica.api
    waiting = [asyncio.create_task(api.get(headers={"Prefer": "wait=30"})) for _ in range(readers)]
    await until(lambda: api.notifier._count == readers, deadline_s=60)
    # The last ones may still read once.
    await QueryRecorder.pass_time()
    QueryRecorder.queries.clear()
    await QueryRecorder.pass_time()
    assert QueryRecorder.queries == []
    assert replica.listener.is_open
    elsewhere = append_deps(MongoFeedStore(replica.mongo))
    await append_events([an_event(1)], elsewhere)
    responses = await asyncio.gather(*waiting)
    assert {response.status for response in responses} == {200}
    for response in responses:
        assert b'"sequence":1' in await response.read()
    # Two for the head, and a few shared ones for the page.
    assert len(QueryRecorder.queries) < 10 + readers / 20


async def test_a_hundred_readers_wait_without_a_query(replica: Replica) -> None:
    await wait_together(replica, 100)


@pytest.mark.long
async def test_a_thousand_readers_wait_without_a_query(replica: Replica) -> None:
    await wait_together(replica, 1_000)


async def test_a_stream_gets_what_another_replica_appends(replica: Replica) -> None:
    elsewhere = append_deps(MongoFeedStore(replica.mongo))
    async with await replica.api.get(headers={"Accept": "text/event-stream"}) as response:
        for number in range(3):
            await append_events([an_event(number)], elsewhere)
            line = b""
            while not line.startswith(b"data:"):
                line = await response.content.readline()
            assert f'"sequence":{number + 1}'.encode() in line
