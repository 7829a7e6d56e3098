"""A feed in MongoDB, read while several processes write it: each event exactly once, in order, from any cursor."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from services.chassis.mongodb.client import Mongo
from services.webhooks.adapters.feed_store import MongoFeedStore
from services.webhooks.flows.append_events import Deps, append_events
from tests.webhooks.api_fixtures import FeedClient, build_client, read_frames
from tests.webhooks.events import NOON_US, some_events
from tests.webhooks.feed_fixtures import mongo

__all__ = ["mongo"]

WRITERS, PER_WRITER, BATCH = 3, 60, 7
TOTAL = WRITERS * PER_WRITER


@pytest.fixture
async def api(mongo: Mongo) -> AsyncIterator[FeedClient]:
    store = MongoFeedStore(mongo)
    await store.create_indexes(retention_days=30)
    api = await build_client(store, max_waiters=10, heartbeat_s=10)
    yield api
    await api.notifier.stop()
    await api.client.close()


async def write(mongo: Mongo, api: FeedClient, number: int) -> None:
    """Append like a process of its own; some events are appended twice."""
    deps = Deps(feed=MongoFeedStore(mongo), notifier=api.notifier, now_us=lambda: NOON_US)
    events = some_events(PER_WRITER, number * PER_WRITER)
    for first in range(0, PER_WRITER, BATCH):
        await append_events(events[max(first - 2, 0) : first + BATCH], deps)


async def walk(api: FeedClient, rows: int) -> tuple[list[int], list[tuple[int, str]]]:
    """Read page by page until all is read; returns the sequences, and each cursor with its position."""
    seen: list[int] = []
    cursors: list[tuple[int, str]] = []
    cursor = ""
    while len(seen) < TOTAL:
        found, cursor = await api.read(
            rows=rows, headers={"Prefer": "wait=20"}, **({"after": cursor} if cursor else {})
        )
        seen += found
        cursors.append((len(seen), cursor))
    return seen, cursors


async def follow(api: FeedClient) -> list[int]:
    """Follow as a stream that is cut after each few events."""
    seen: list[int] = []
    cursor = ""
    while len(seen) < TOTAL:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": cursor} if cursor else {})
        async with await api.get(headers=headers) as response:
            for frame in await read_frames(response, min(9, TOTAL - len(seen))):
                seen.append(frame.data["sequence"])
                cursor = frame.id
    return seen


async def test_a_feed_is_walked_while_it_is_written(mongo: Mongo, api: FeedClient) -> None:
    writing = [asyncio.create_task(write(mongo, api, number)) for number in range(WRITERS)]
    walked = await asyncio.gather(*(walk(api, rows) for rows in (1, 4, 500)))
    followed = await follow(api)
    await asyncio.gather(*writing)
    everything = list(range(1, TOTAL + 1))
    assert followed == everything
    for seen, _ in walked:
        assert seen == everything
    cursors = [cursor for _, found in walked for cursor in found]
    for position, cursor in random.Random(1).sample(cursors, 20):  # noqa: S311 - reproducible
        assert (await api.read(after=cursor, rows=500))[0] == everything[position:]
