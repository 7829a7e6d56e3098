"""Waking those who wait, from this process and from others."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest

from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.metrics import REGISTRY
from services.status.adapters.change_stream import ChangeWatch
from services.status.adapters.job_store import JOBS
from services.status.adapters.notifier import HandBell
from services.status.domain.facts import Key
from services.status.flows.apply_events import World, record
from tests.chassis.eventually import until
from tests.status.events import JOB, a_run, judged, opened
from tests.status.memory import Belfry, MemoryOrigins
from tests.status.test_store import BOTH_DRIVERS, Database, a_database


@pytest.fixture(params=BOTH_DRIVERS)
async def database(request: pytest.FixtureRequest, mongodb_uri: str) -> AsyncIterator[Database]:
    async with a_database(mongodb_uri, request.param) as database:
        yield database


async def test_what_another_replica_writes_rings_here(database: Database) -> None:
    here, there = HandBell(most=10), Belfry()
    watch = ChangeWatch(database.mongo, here, clock_s=time.monotonic)
    elsewhere = World(jobs=database.jobs, origins=MemoryOrigins(), bell=there, now_us=lambda: 0)
    try:
        async with here.wait_for(JOB) as turn:
            assert turn is not None
            await turn.rung(0.01)
            await record([opened()], elsewhere)
            assert await turn.rung(10)
            await record([judged(a_run("SS"))], elsewhere)
            assert await turn.rung(10)
        async with here.wait_for(Key(609, JOB.job_id)) as other:
            assert other is not None
            assert not await other.rung(0.01)
    finally:
        await watch.stop()


async def test_a_stream_that_breaks_is_opened_again_and_nothing_is_missed(database: Database) -> None:
    """Whoever waits looks once more then: the job may have changed while nobody watched."""
    bell = HandBell(most=10)
    watch = ChangeWatch(database.mongo, bell, clock_s=time.monotonic)
    elsewhere = World(jobs=database.jobs, origins=MemoryOrigins(), bell=Belfry(), now_us=lambda: 0)
    await record([opened()], elsewhere)
    try:
        async with bell.wait_for(JOB) as turn:
            assert turn is not None
            await turn.rung(0.01)
            await database.mongo.collection(JOBS).drop()
            assert await turn.rung(10), "it was opened again"
            await record([opened()], elsewhere)
            assert await turn.rung(10), "it tells what others write"
    finally:
        await watch.stop()


async def test_changes_are_watched_for_as_long_as_somebody_waits(database: Database) -> None:
    before = REGISTRY.get_sample_value("status_watches_opened_total") or 0.0
    now_s = [0.0]
    bell = HandBell(most=10)
    watch = ChangeWatch(database.mongo, bell, clock_s=lambda: now_s[0])
    elsewhere = World(jobs=database.jobs, origins=MemoryOrigins(), bell=Belfry(), now_us=lambda: 0)
    try:
        async with bell.wait_for(JOB) as turn:
            assert turn is not None
            await turn.rung(0.01)
            for event in (opened(), judged(a_run("S")), judged(a_run("S", 1))):
                now_s[0] += 60
                await record([event], elsewhere)
                assert await turn.rung(10)
            assert REGISTRY.get_sample_value("status_watches_opened_total") == before + 1, "by one stream"
    finally:
        await watch.stop()


class SlowDoor:
    """A database with nothing to tell, whose streams are closed only when they may be."""

    def __init__(self) -> None:
        self.opened = 0
        self.closing, self.may_close = asyncio.Event(), asyncio.Event()

    def collection(self, name: str) -> str:
        return name

    @asynccontextmanager
    async def watch(self, *_: object, **__: object) -> AsyncIterator["SlowDoor"]:
        self.opened += 1
        yield self
        self.closing.set()
        await self.may_close.wait()

    async def next(self) -> list[object]:
        await asyncio.sleep(0)
        return []


async def test_who_begins_to_wait_while_a_stream_is_closed_has_another_one() -> None:
    """Or changes of other replicas would be missed for as long as the wait takes."""
    now_s, door, bell = [0.0], SlowDoor(), HandBell(most=10)
    watch = ChangeWatch(cast("Mongo", door), bell, clock_s=lambda: now_s[0])
    async with bell.wait_for(JOB):
        pass
    now_s[0] = 60.0
    async with asyncio.timeout(5):
        await door.closing.wait()
        asyncio.get_running_loop().call_later(0.01, door.may_close.set)
        async with bell.wait_for(JOB):
            await until(lambda: door.opened == 2)
            assert watch.is_open
        await watch.stop()


async def test_nothing_is_watched_while_nobody_waits(database: Database) -> None:
    now_s = [0.0]
    bell = HandBell(most=10)
    watch = ChangeWatch(database.mongo, bell, clock_s=lambda: now_s[0])
    await watch.start()
    await until(lambda: not watch.is_open)
    async with bell.wait_for(JOB):
        assert watch.is_open
    now_s[0] = 60.0
    await until(lambda: not watch.is_open)
    async with bell.wait_for(JOB):
        assert watch.is_open
    async with asyncio.timeout(10):
        await watch.stop()


async def test_a_turn_rings_for_its_job_only() -> None:
    bell = HandBell(most=10)
    async with bell.wait_for(JOB) as turn:
        assert turn is not None
        bell.ring([Key(609, JOB.job_id)])
        assert not await turn.rung(0.01)
        bell.ring([JOB])
        assert await turn.rung(1)
        assert not await turn.rung(0.01)
    assert not bell.is_waited_for
