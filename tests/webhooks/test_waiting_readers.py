"""Readers wait without queries, and are woken by what any replica appends."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import ClassVar

import pytest
from pymongo import monitoring

from services.chassis.mongodb import client
from services.chassis.mongodb.client import Mongo
from services.webhooks.adapters.feed_store import MongoFeedStore
from services.webhooks.adapters.notifier import FeedChangeListener
from services.webhooks.flows.append_events import append_events
from tests.chassis.eventually import until
from tests.support.databases import temporary_mongo
from tests.webhooks.api_fixtures import FeedClient, build_client, read_frames
from tests.webhooks.events import an_event
from tests.webhooks.feed_fixtures import append_deps

BOTH_DRIVERS = ("motor", "pymongo")


class CommandRecorder(client.PoolMetrics, monitoring.CommandListener):
    """Records all commands except the polls of the change stream, by which MongoDB tells of changes."""

    commands: ClassVar[list[str]] = []
    change_stream_polls = 0

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name == "getMore":
            CommandRecorder.change_stream_polls += 1
        else:
            self.commands.append(event.command_name)

    @classmethod
    async def pass_time(cls) -> None:
        """Return after two seconds of the change stream."""
        end = cls.change_stream_polls + 4
        await until(lambda: cls.change_stream_polls >= end)

    @classmethod
    async def settle(cls) -> None:
        """Return when no command has been sent for as long: the last readers may still read once."""
        sent = -1
        while sent != len(cls.commands):
            sent = len(cls.commands)
            await cls.pass_time()

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
    monkeypatch.setattr(client, "PoolMetrics", CommandRecorder)
    async with temporary_mongo(mongodb_uri, request.param) as mongo:
        store = MongoFeedStore(mongo)
        await store.create_indexes(retention_days=30)
        api = await build_client(store, max_waiters=1_000, heartbeat_s=10)
        replica = Replica(mongo, api)
        yield replica
        await api.notifier.stop()
        await replica.listener.stop()
        await api.client.close()


async def assert_idle(replica: Replica, readers: int) -> None:
    """That many readers wait, and while nothing happens the database gets no command."""
    await until(lambda: replica.api.notifier._count == readers, deadline_s=60)
    await CommandRecorder.settle()
    CommandRecorder.commands.clear()
    polls = CommandRecorder.change_stream_polls
    await CommandRecorder.pass_time()
    assert CommandRecorder.commands == []
    # One change stream for all of them: it is polled twice a second.
    assert CommandRecorder.change_stream_polls - polls < 20
    assert replica.listener.is_open


def assert_shared(readers: int) -> None:
    """Two commands for the head, two that append, and a few shared ones for the page."""
    assert len(CommandRecorder.commands) < 10 + readers / 20, Counter(CommandRecorder.commands)


async def poll_together(replica: Replica, readers: int) -> None:
    """Long polls: all are woken by another replica's event."""
    api = replica.api
    waiting = [asyncio.create_task(api.get(headers={"Prefer": "wait=30"})) for _ in range(readers)]
    await assert_idle(replica, readers)
    await append_events([an_event(1)], append_deps(MongoFeedStore(replica.mongo)))
    responses = await asyncio.gather(*waiting)
    assert {response.status for response in responses} == {200}
    for response in responses:
        assert b'"sequence":1' in await response.read()
    assert_shared(readers)


async def stream_together(replica: Replica, readers: int) -> None:
    """Streams: all get another replica's event, and wait again."""
    api = replica.api
    opened = await asyncio.gather(*(api.get(headers={"Accept": "text/event-stream"}) for _ in range(readers)))
    assert {response.status for response in opened} == {200}
    await assert_idle(replica, readers)
    await append_events([an_event(1)], append_deps(MongoFeedStore(replica.mongo)))
    frames = await asyncio.gather(*(read_frames(response, 1) for response in opened))
    assert {frame.data["sequence"] for (frame,) in frames} == {1}
    assert_shared(readers)
    await until(lambda: api.notifier._count == readers)
    for response in opened:
        response.close()


@pytest.mark.parametrize("wait", [poll_together, stream_together])
async def test_a_hundred_readers_wait_without_a_query(
    replica: Replica, wait: Callable[[Replica, int], Awaitable[None]]
) -> None:
    await wait(replica, 100)


@pytest.mark.long
@pytest.mark.parametrize("wait", [poll_together, stream_together])
async def test_a_thousand_readers_wait_without_a_query(
    replica: Replica, wait: Callable[[Replica, int], Awaitable[None]]
) -> None:
    await wait(replica, 1_000)


async def test_a_stream_gets_what_another_replica_appends(replica: Replica) -> None:
    elsewhere = append_deps(MongoFeedStore(replica.mongo))
    async with await replica.api.get(headers={"Accept": "text/event-stream"}) as response:
        for number in range(3):
            await append_events([an_event(number)], elsewhere)
            line = b""
            while not line.startswith(b"data:"):
                line = await response.content.readline()
            assert f'"sequence":{number + 1}'.encode() in line
