"""Nothing counts as done before a majority of MongoDB's members has it."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sandbox.mongo import ReplicaSet
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.settings import MongoSettings
from services.jobs.events import JobEvent, JobKey
from services.status.adapters.job_store import MongoJobStore
from services.status.domain.block import ALL_EVENTS, NO_PROJECTION, Block, Projection
from services.status.domain.job import Job, StoredJob
from services.status.flows.apply_events import Deps, apply_events
from tests.chassis.eventually import until
from tests.jobs.events import JOB, a_header, a_run, judged, opened
from tests.status.fakes import FakeFinishedPublisher, FakeNotifier, FakeSiteProfiles
from tests.status.job_store_fixtures import BOTH_DRIVERS
from tests.support.replica_sets import suspended_secondaries

pytestmark = pytest.mark.long


@pytest.mark.parametrize("guessing", [True, False])
@pytest.mark.parametrize("driver", BOTH_DRIVERS)
async def test_a_retry_that_finds_its_own_write_waits_until_a_majority_has_it(
    tmp_path: Path, driver: str, *, guessing: bool
) -> None:
    """Breaks: both secondaries are suspended. Must hold: no success before they continue."""
    events = [opened(), judged(a_run("SS"))]
    with ReplicaSet(tmp_path, nodes=3) as three:
        # A primary without contact to a majority steps down after ten seconds.
        mongo = Mongo.connect(MongoSettings(mongodb_uri=three.uri, mongo_driver=driver, mongodb_timeout_ms=1_000))
        jobs = MongoJobStore(mongo, now=lambda: datetime.now(UTC))
        deps = Deps(
            jobs=jobs,
            site_profiles=FakeSiteProfiles(),
            notifier=FakeNotifier(),
            finished=FakeFinishedPublisher(),
            now_us=lambda: 0,
        )
        await jobs.create_indexes(retention_days=30)
        with suspended_secondaries(three):
            for first in (True, guessing):
                with pytest.raises(UnavailableError):
                    await apply_events(events, deps, optimistic=first)
        async with asyncio.timeout(60):
            while await _job_is_missing(jobs):
                with suppress(UnavailableError):
                    await apply_events(events, deps, optimistic=guessing)
        await mongo.close()


class FailingOverJobStore(MongoJobStore):
    """Runs `fail_over` once, after the first call of the method that `fails_over_after` names."""

    def __init__(self, mongo: Mongo, fail_over: Callable[[], Awaitable[None]]) -> None:
        super().__init__(mongo, now=lambda: datetime.now(UTC))
        self.fails_over_after = ""
        self._fail_over = fail_over

    async def load(self, keys: Sequence[JobKey]) -> dict[JobKey, StoredJob]:
        found = await super().load(keys)
        await self._called("load")
        return found

    async def find_chunks(
        self, job: Job, numbers: Sequence[int], projection: Projection = NO_PROJECTION
    ) -> list[Block]:
        found = await super().find_chunks(job, numbers, projection)
        await self._called("find_chunks")
        return found

    async def _called(self, method: str) -> None:
        if method == self.fails_over_after:
            self.fails_over_after = ""
            await self._fail_over()


@pytest.mark.parametrize(
    ("stored", "written", "read"),
    [
        ([], [opened(), judged(a_run("SS"))], "load"),
        ([], [opened(a_header(700)), judged(a_run("S" * 700), a_header(700))], "load"),
        (
            [opened(a_header(700)), judged(a_run("S" * 100), a_header(700))],
            [judged(a_run("S" * 600, 100), a_header(700))],
            "find_chunks",
        ),
    ],
    ids=["small job", "large job", "chunk"],
)
async def test_what_only_a_failing_primary_has_is_written_again(
    tmp_path: Path, stored: list[JobEvent], written: list[JobEvent], read: str
) -> None:
    """Breaks: only the primary has a write; a retry reads it there, and meanwhile another member is elected.

    Must hold: the retry succeeds only when the new primary has the write.
    """
    async with AsyncExitStack() as cleanup:
        three = cleanup.enter_context(ReplicaSet(tmp_path, nodes=3))
        # A primary without contact to a majority steps down after two seconds.
        mongo = await cleanup.enter_async_context(
            Mongo.connect(MongoSettings(mongodb_uri=three.uri, mongodb_timeout_ms=500))
        )
        primary = three.primary()
        assert primary is not None
        others = [member for member in three.members if member is not primary]

        async def fail_over() -> None:
            old = _primary_address(mongo)
            primary.suspend()
            for member in others:
                member.launch()
            await until(lambda: _primary_address(mongo) not in (None, old), deadline_s=30)

        jobs = FailingOverJobStore(mongo, fail_over)
        deps = Deps(
            jobs=jobs,
            site_profiles=FakeSiteProfiles(),
            notifier=FakeNotifier(),
            finished=FakeFinishedPublisher(),
            now_us=lambda: 0,
        )
        await jobs.create_indexes(retention_days=30)
        await apply_events(stored, deps)
        # Members that are only suspended would still receive the write.
        for member in others:
            member.kill()
        try:
            with pytest.raises(UnavailableError):
                await apply_events(written, deps, optimistic=False)
            jobs.fails_over_after = read
            await until(lambda: _succeeds(apply_events(written, deps, optimistic=False)), deadline_s=60)
            assert not jobs.fails_over_after
            assert await _all_succeeded(jobs)
        finally:
            primary.resume()


def _primary_address(mongo: Mongo) -> Any:
    servers = mongo.client.delegate.topology_description.server_descriptions().values()
    return next((server.address for server in servers if server.is_writable), None)


async def _succeeds(call: Coroutine[Any, Any, object]) -> bool:
    with suppress(UnavailableError):
        await call
        return True
    return False


async def _all_succeeded(jobs: MongoJobStore) -> bool:
    stored = await jobs.find(JOB, ALL_EVENTS)
    if stored is None:
        return False
    job = stored.job
    blocks = [stored.block] if stored.block else await jobs.find_chunks(job, range(len(job.chunk_tallies)), ALL_EVENTS)
    return job.is_terminal and "".join(block.outcomes for block in blocks) == "S" * job.profile.total


async def _job_is_missing(jobs: MongoJobStore) -> bool:
    with suppress(UnavailableError):
        return await jobs.find(JOB) is None
    return True
