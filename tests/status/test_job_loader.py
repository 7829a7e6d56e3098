"""Concurrent lookups share a query, and its result is never older than they are."""

import asyncio
from collections.abc import Sequence
from uuid import uuid4

import pytest

from services.chassis.runtime.errors import UnavailableError
from services.jobs.events import JobKey
from services.status.adapters.job_loader import (
    MAX_JOBS_PER_QUERY,
    MAX_WHOLE_JOBS_PER_QUERY,
    MAX_WHOLE_JOBS_QUERIES,
    JobLoader,
)
from services.status.domain.block import FAULT_EVENTS, Projection
from services.status.domain.job import StoredJob
from services.status.flows import apply_events
from tests.chassis.eventually import until
from tests.jobs.events import JOB, a_header, a_run, judged, opened
from tests.status.fakes import FakeFinishedPublisher, FakeNotifier, FakeSiteProfiles, MemoryJobStore

OTHER = JobKey(609, JOB.job_id)


class CountingJobStore(MemoryJobStore):
    """Records the size of each query; can be unavailable."""

    def __init__(self) -> None:
        super().__init__(turns=lambda: 3)
        self.query_sizes: list[int] = []
        self.is_unavailable = False

    async def find_many(self, keys: Sequence[JobKey], projection: Projection) -> dict[JobKey, StoredJob]:
        self.query_sizes.append(len(keys))
        if self.is_unavailable:
            raise UnavailableError("MongoDB")
        found = [await self.find(key, projection) for key in keys]
        return {stored.job.key: stored for stored in found if stored is not None}


@pytest.fixture
def store() -> CountingJobStore:
    return CountingJobStore()


async def put(store: CountingJobStore, *keys: JobKey) -> None:
    deps = apply_events.Deps(
        jobs=store,
        site_profiles=FakeSiteProfiles(),
        notifier=FakeNotifier(),
        finished=FakeFinishedPublisher(),
        now_us=lambda: 0,
    )
    await apply_events.apply_events([opened(a_header(key=key)) for key in keys], deps)


async def test_who_asks_at_the_same_moment_shares_a_query(store: CountingJobStore) -> None:
    await put(store, JOB)
    jobs = JobLoader(store)
    first, again, other = await asyncio.gather(jobs.find(JOB), jobs.find(JOB), jobs.find(OTHER))
    assert first is not None
    assert again is first
    assert other is None
    assert store.query_sizes == [2]
    await asyncio.gather(jobs.find(JOB), jobs.find(JOB, FAULT_EVENTS))
    assert store.query_sizes == [2, 1, 1]


async def test_who_asks_later_gets_a_later_answer(store: CountingJobStore) -> None:
    """Or what was written between the two would be missed."""
    await put(store, JOB)
    jobs = JobLoader(store)
    early = asyncio.create_task(jobs.find(JOB))
    await until(lambda: store.query_sizes == [1])
    deps = apply_events.Deps(
        jobs=store,
        site_profiles=FakeSiteProfiles(),
        notifier=FakeNotifier(),
        finished=FakeFinishedPublisher(),
        now_us=lambda: 0,
    )
    writing = asyncio.create_task(apply_events.apply_events([judged(a_run("SS"))], deps))
    await early
    await writing
    late = await jobs.find(JOB)
    assert late is not None
    assert late.job.is_terminal


async def test_a_query_has_so_many_jobs_at_most(store: CountingJobStore) -> None:
    keys = [JobKey(number, JOB.job_id) for number in range(2 * MAX_JOBS_PER_QUERY + 1)]
    await put(store, *keys)
    jobs = JobLoader(store)
    found = await asyncio.gather(*map(jobs.find, keys))
    assert [stored.job.key for stored in found if stored] == keys
    assert store.query_sizes == [MAX_JOBS_PER_QUERY, MAX_JOBS_PER_QUERY, 1]


async def test_who_gives_up_takes_the_answer_from_nobody(store: CountingJobStore) -> None:
    await put(store, JOB)
    jobs = JobLoader(store)
    hasty, patient = asyncio.create_task(jobs.find(JOB)), asyncio.create_task(jobs.find(JOB))
    await asyncio.sleep(0)
    hasty.cancel()
    assert await patient is not None
    assert hasty.cancelled()


async def test_all_learn_that_the_store_is_unavailable_and_the_next_lookup_queries_again(
    store: CountingJobStore,
) -> None:
    await put(store, JOB)
    jobs = JobLoader(store)
    store.is_unavailable = True
    heard = await asyncio.gather(jobs.find(JOB), jobs.find(OTHER), return_exceptions=True)
    assert [type(error) for error in heard] == [UnavailableError, UnavailableError]
    store.is_unavailable = False
    assert await jobs.find(JOB) is not None


async def test_few_whole_jobs_are_read_at_once(store: CountingJobStore) -> None:
    """I8: hundreds of waiting requests may wake together, and each job may have a megabyte of events."""
    running, most = 0, 0
    find_many = store.find_many

    async def count(keys: Sequence[JobKey], projection: Projection) -> dict[JobKey, StoredJob]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            return await find_many(keys, projection)
        finally:
            running -= 1

    keys = [JobKey(608, str(uuid4())) for _ in range(MAX_WHOLE_JOBS_PER_QUERY * 10)]
    await put(store, *keys)
    store.find_many = count  # type: ignore[method-assign]
    jobs = JobLoader(store)
    found = await asyncio.gather(*(jobs.find(key, FAULT_EVENTS) for key in keys))
    assert [stored.job.key for stored in found if stored is not None] == keys
    assert max(store.query_sizes) <= MAX_WHOLE_JOBS_PER_QUERY
    assert most == MAX_WHOLE_JOBS_QUERIES
