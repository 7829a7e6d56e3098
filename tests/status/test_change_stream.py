"""Waiting requests are notified of writes of this process and of others."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest

from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.metrics import REGISTRY
from services.jobs.events import JobKey
from services.status.adapters.job_store import JOBS
from services.status.adapters.notifier import JobChangeListener, JobNotifier
from services.status.flows.apply_events import Deps, apply_events
from tests.chassis.eventually import until
from tests.jobs.events import JOB, a_run, judged, opened
from tests.status.fakes import FakeFinishedPublisher, FakeNotifier, FakeSiteProfiles
from tests.status.job_store_fixtures import BOTH_DRIVERS, Database, a_database


@pytest.fixture(params=BOTH_DRIVERS)
async def database(request: pytest.FixtureRequest, mongodb_uri: str) -> AsyncIterator[Database]:
    async with a_database(mongodb_uri, request.param) as database:
        yield database


async def test_what_another_replica_writes_rings_here(database: Database) -> None:
    here, there = JobNotifier(max_waiters=10), FakeNotifier()
    watch = JobChangeListener(database.mongo, here, clock_s=time.monotonic)
    elsewhere = Deps(
        jobs=database.jobs,
        site_profiles=FakeSiteProfiles(),
        notifier=there,
        finished=FakeFinishedPublisher(),
        now_us=lambda: 0,
    )
    try:
        async with here.register(JOB) as turn:
            assert turn is not None
            await turn.wait(0.01)
            await apply_events([opened()], elsewhere)
            assert await turn.wait(10)
            await apply_events([judged(a_run("SS"))], elsewhere)
            assert await turn.wait(10)
        async with here.register(JobKey(609, JOB.job_id)) as other:
            assert other is not None
            assert not await other.wait(0.01)
    finally:
        await watch.stop()


async def test_a_stream_that_breaks_is_opened_again_and_nothing_is_missed(database: Database) -> None:
    """A waiting request reads once more then: the job may have changed before the stream was open."""
    notifier = JobNotifier(max_waiters=10)
    watch = JobChangeListener(database.mongo, notifier, clock_s=time.monotonic)
    elsewhere = Deps(
        jobs=database.jobs,
        site_profiles=FakeSiteProfiles(),
        notifier=FakeNotifier(),
        finished=FakeFinishedPublisher(),
        now_us=lambda: 0,
    )
    await apply_events([opened()], elsewhere)
    try:
        async with notifier.register(JOB) as turn:
            assert turn is not None
            await turn.wait(0.01)
            await database.mongo.collection(JOBS).drop()
            assert await turn.wait(10), "it was opened again"
            await apply_events([opened()], elsewhere)
            assert await turn.wait(10), "it tells what others write"
    finally:
        await watch.stop()


async def test_changes_are_watched_for_as_long_as_somebody_waits(database: Database) -> None:
    before = REGISTRY.get_sample_value("status_change_streams_opened_total") or 0.0
    now_s = [0.0]
    notifier = JobNotifier(max_waiters=10)
    watch = JobChangeListener(database.mongo, notifier, clock_s=lambda: now_s[0])
    elsewhere = Deps(
        jobs=database.jobs,
        site_profiles=FakeSiteProfiles(),
        notifier=FakeNotifier(),
        finished=FakeFinishedPublisher(),
        now_us=lambda: 0,
    )
    try:
        async with notifier.register(JOB) as turn:
            assert turn is not None
            await turn.wait(0.01)
            for event in (opened(), judged(a_run("S")), judged(a_run("S", 1))):
                now_s[0] += 60
                await apply_events([event], elsewhere)
                assert await turn.wait(10)
            assert REGISTRY.get_sample_value("status_change_streams_opened_total") == before + 1, "by one stream"
    finally:
        await watch.stop()


class SlowMongo:
    """A database without changes, whose streams close only when the test allows it."""

    def __init__(self) -> None:
        self.opened = 0
        self.closing, self.may_close = asyncio.Event(), asyncio.Event()

    def collection(self, name: str) -> str:
        return name

    @asynccontextmanager
    async def watch(self, *_: object, **__: object) -> AsyncIterator["SlowMongo"]:
        self.opened += 1
        yield self
        self.closing.set()
        await self.may_close.wait()

    async def next(self) -> list[object]:
        await asyncio.sleep(0)
        return []


async def test_who_begins_to_wait_while_a_stream_is_closed_has_another_one() -> None:
    """Or changes of other replicas would be missed for as long as the wait takes."""
    now_s, door, notifier = [0.0], SlowMongo(), JobNotifier(max_waiters=10)
    watch = JobChangeListener(cast("Mongo", door), notifier, clock_s=lambda: now_s[0])
    async with notifier.register(JOB):
        pass
    now_s[0] = 60.0
    async with asyncio.timeout(5):
        await door.closing.wait()
        asyncio.get_running_loop().call_later(0.01, door.may_close.set)
        async with notifier.register(JOB):
            await until(lambda: door.opened == 2)
            assert watch.is_open
        await watch.stop()


async def test_nothing_is_watched_while_nobody_waits(database: Database) -> None:
    now_s = [0.0]
    notifier = JobNotifier(max_waiters=10)
    watch = JobChangeListener(database.mongo, notifier, clock_s=lambda: now_s[0])
    await watch.start()
    await until(lambda: not watch.is_open)
    async with notifier.register(JOB):
        assert watch.is_open
    now_s[0] = 60.0
    await until(lambda: not watch.is_open)
    async with notifier.register(JOB):
        assert watch.is_open
    async with asyncio.timeout(10):
        await watch.stop()


async def test_a_turn_rings_for_its_job_only() -> None:
    notifier = JobNotifier(max_waiters=10)
    async with notifier.register(JOB) as turn:
        assert turn is not None
        notifier.notify([JobKey(609, JOB.job_id)])
        assert not await turn.wait(0.01)
        notifier.notify([JOB])
        assert await turn.wait(1)
        assert not await turn.wait(0.01)
    assert not notifier.has_waiters
