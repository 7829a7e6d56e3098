"""Each event gets one place in its feed, however many processes append it, and however often."""

import asyncio
import json
import os
import random
import signal
import sys
from dataclasses import replace

import pytest

from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.settings import REPOSITORY
from services.webhooks.adapters.feed_store import MongoFeedStore
from services.webhooks.domain.event import EventType, FeedEvent, FeedQuery, NewEvent
from services.webhooks.domain.retry import HOUR_US
from services.webhooks.flows.append_events import append_events
from tests.webhooks.events import NOON_US, OTHER_SITE, SITE, an_event, job_data
from tests.webhooks.fakes import FakeNotifier, MemoryFeed
from tests.webhooks.feed_fixtures import Feed, append_deps, feed, mongo

__all__ = ["feed", "mongo"]


async def all_events(feed: Feed, site: int = SITE) -> list[FeedEvent]:
    return list(await feed.read(FeedQuery(site=site, after=0, rows=100_000)))


def assert_complete(events: list[FeedEvent], expected: list[NewEvent]) -> None:
    """Every event once, and no hole in the sequence."""
    assert [event.sequence for event in events] == list(range(1, len(expected) + 1))
    assert sorted(event.id for event in events) == sorted(event.id for event in expected)


async def test_events_are_numbered_in_order_for_each_site(feed: Feed) -> None:
    own, others = [an_event(n) for n in range(3)], [an_event(n, site=OTHER_SITE) for n in range(2)]
    await append_events([own[0], others[0], own[1], others[1], own[2]], append_deps(feed))
    assert [(event.sequence, event.id) for event in await all_events(feed)] == [
        (number, event.id) for number, event in enumerate(own, 1)
    ]
    assert_complete(await all_events(feed, OTHER_SITE), others)


async def test_repeated_events_keep_their_place(feed: Feed) -> None:
    """Within a batch, across batches, and by a process that knows no head."""
    events = [an_event(number) for number in range(6)]
    deps = append_deps(feed)
    await append_events([events[0], events[1], events[0]], deps)
    await append_events([events[1], events[2], events[0], events[3]], append_deps(feed))
    await append_events(events[3:], deps)
    await append_events(events, deps)
    assert [event.id for event in await all_events(feed)] == [event.id for event in events]


async def test_the_head_is_raised_and_readers_are_woken(feed: Feed) -> None:
    deps = append_deps(feed)
    await append_events([an_event(1), an_event(2)], deps)
    head = await feed.find_head(SITE)
    assert (head.sequence, head.recorded_us) == (2, NOON_US)
    assert isinstance(deps.notifier, FakeNotifier)
    assert deps.notifier.notified == [SITE]


async def test_an_event_of_which_the_outcome_is_unknown_is_appended_once() -> None:
    """Breaks: the write succeeds and its acknowledgement is lost."""
    memory = MemoryFeed()
    deps = append_deps(memory)
    memory.fails = 1
    with pytest.raises(UnavailableError):
        await append_events([an_event(1), an_event(2)], deps)
    await append_events([an_event(1), an_event(2), an_event(3)], deps)
    assert_complete(await all_events(memory), [an_event(n) for n in (1, 2, 3)])


@pytest.mark.parametrize("start", range(3))
async def test_processes_that_append_at_once_leave_no_hole_and_repeat_nothing(feed: Feed, start: int) -> None:
    """Breaks: four processes, of which none knows of the others, get overlapping events in any order, in pieces.

    Must hold: each event has one sequence, and a reader that follows sees every event once, in order.
    """
    chance = random.Random(start)  # noqa: S311 - reproducible
    events = [an_event(number) for number in range(60)]

    async def append_some() -> None:
        deps, mine = append_deps(feed), chance.sample(events, 45)
        while mine:
            piece, mine = mine[: (size := chance.randint(1, 9))], mine[size:]
            await append_events(piece, deps)

    seen: list[FeedEvent] = []

    async def follow() -> None:
        while len(seen) < len(events):
            seen.extend(await feed.read(FeedQuery(site=SITE, after=len(seen), rows=7)))
            await asyncio.sleep(0)

    following = asyncio.create_task(follow())
    await asyncio.gather(*(append_some() for _ in range(4)))
    await append_events(events, append_deps(feed))
    async with asyncio.timeout(30):
        await following
    assert_complete(await all_events(feed), events)
    assert seen == await all_events(feed)


async def test_the_sequence_goes_on_after_all_events_have_expired(mongo: Mongo) -> None:
    store = MongoFeedStore(mongo)
    await store.create_indexes(retention_days=30)
    await append_events([an_event(1), an_event(2)], append_deps(store))
    await mongo.collection("feed_events").delete_many({})
    await append_events([an_event(3)], append_deps(store))
    assert [event.sequence for event in await all_events(store)] == [3]


@pytest.mark.parametrize("pause_us", [HOUR_US + 1, 40 * 24 * HOUR_US])
async def test_a_process_that_paused_gives_no_sequence_twice(pause_us: int) -> None:
    """Breaks: another process appended meanwhile, and retention has deleted what it appended."""
    memory = MemoryFeed()
    paused = append_deps(memory)
    await append_events([an_event(1)], paused)
    await append_events([an_event(2)], append_deps(memory))
    memory.feeds.clear()
    await append_events([an_event(3)], replace(paused, now_us=lambda: NOON_US + pause_us))
    assert [event.sequence for event in await all_events(memory)] == [3]


async def test_time_never_runs_backwards_in_a_feed(feed: Feed) -> None:
    """Positions are found by time."""
    await append_events([an_event(1)], append_deps(feed, now_us=NOON_US + 10))
    await append_events([an_event(2)], append_deps(feed, now_us=NOON_US))
    assert (await feed.find_head(SITE)).recorded_us == NOON_US + 10


@pytest.mark.parametrize(("at", "position"), [(-1, 0), (0, 1), (1, 1), (10, 2), (25, 2), (30, 4), (99, 4)])
async def test_a_position_is_found_by_time(feed: Feed, at: int, position: int) -> None:
    for numbers, offset in (((1,), 0), ((2,), 10), ((3, 4), 30)):
        await append_events([an_event(n) for n in numbers], append_deps(feed, now_us=NOON_US + offset))
    assert await feed.find_position(SITE, NOON_US + at) == position


async def test_the_position_in_a_feed_without_events_is_its_head(feed: Feed) -> None:
    assert await feed.find_position(SITE, NOON_US) == 0


async def test_events_are_filtered_by_type(feed: Feed) -> None:
    types = [EventType.JOB_FINISHED, EventType.INVOICE_ISSUED, EventType.CODES_AVAILABLE]
    await append_events([an_event(n, type_=types[n % 3]) for n in range(9)], append_deps(feed))
    wanted = (EventType.CODES_AVAILABLE.value, EventType.INVOICE_ISSUED.value)
    found = await feed.read(FeedQuery(site=SITE, after=3, rows=3, types=wanted))
    assert [(event.sequence, event.type) for event in found] == [
        (5, "invoice.issued"),
        (6, "codes.available"),
        (8, "invoice.issued"),
    ]


async def test_the_text_is_the_whole_event(feed: Feed) -> None:
    await append_events([an_event(1)], append_deps(feed))
    (event,) = await all_events(feed)
    assert json.loads(event.json) == {
        "specversion": "1.0",
        "id": an_event(1).id,
        "source": "urn:tillstream:site:608",
        "type": "job.finished",
        "time": "2026-01-01T12:00:00.000000Z",
        "sequence": 1,
        "data": job_data(1),
    }


async def test_a_process_that_dies_between_events_and_head_loses_nothing(mongo: Mongo, mongodb_uri: str) -> None:
    """Breaks: SIGKILL after the events are stored, before the head is. Must hold: one place each, and the head."""
    store = MongoFeedStore(mongo)
    await store.create_indexes(retention_days=30)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.webhooks.append_process", mongodb_uri, mongo._database.name),
        cwd=REPOSITORY,
        env={**os.environ, "FAILPOINTS": "webhooks.inserted"},
    )
    async with asyncio.timeout(60):
        assert await process.wait() == -signal.SIGKILL
    assert len(await all_events(store)) == 3
    await append_events([an_event(n) for n in range(5)], append_deps(store))
    assert_complete(await all_events(store), [an_event(n) for n in range(5)])
    assert (await store.find_head(SITE)).sequence == 5
