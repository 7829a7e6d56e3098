"""Read jobs, waiting for them where a caller wants to."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from services.jobs.events import JobKey
from services.status.domain.block import ALL_EVENTS, FAULT_EVENTS, NO_PROJECTION, RECORDS, Block, Projection
from services.status.domain.chunks import published_part
from services.status.domain.job import Job, StoredJob
from services.status.domain.page import (
    EventsRequest,
    Page,
    build_events_page,
    build_records_page,
    select_event_chunks,
    select_record_chunks,
)
from services.status.ports import JobReader
from services.values.time_uuids import timestamp_us

RECENT_US = 10_000_000
NEW_JOB_TIMEOUT_S = 2.0


class Waiter(Protocol):
    """A request that waits for changes of a job."""

    async def wait(self, timeout_s: float) -> bool:
        """Whether the job changed in time; False, too, when the process is stopping."""


class JobWaiters(Protocol):
    """Registers requests that wait for a job."""

    def register(self, key: JobKey) -> AbstractAsyncContextManager[Waiter | None]:
        """A waiter, or None if too many wait already. Read the job after this call, not before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything that queries may touch. `now_us` is the time of day, `clock_s` a monotonic clock."""

    jobs: JobReader
    waiters: JobWaiters
    now_us: Callable[[], int]
    clock_s: Callable[[], float]


async def find_job(key: JobKey, deps: Deps, *, projection: Projection = NO_PROJECTION) -> StoredJob | None:
    """The job, or None; waits shortly for a job whose id is recent, since its events may not be consumed yet."""
    stored = await deps.jobs.find(key, projection)
    if stored is not None or not is_recent(key, deps):
        return stored
    return await _wait_until(key, deps, lambda job: job is not None, projection=projection, timeout_s=NEW_JOB_TIMEOUT_S)


async def find_ended_job(
    key: JobKey, deps: Deps, *, projection: Projection = NO_PROJECTION, timeout_s: float
) -> StoredJob | None:
    """The job as soon as it has ended, or in its present state after `timeout_s`."""
    stored = await find_job(key, deps, projection=projection)
    if stored is None or stored.job.is_terminal or timeout_s <= 0:
        return stored
    return await _wait_until(
        key, deps, lambda job: job is None or job.is_terminal, projection=projection, timeout_s=timeout_s
    )


async def _wait_until(
    key: JobKey, deps: Deps, condition: Callable[[Job | None], bool], *, projection: Projection, timeout_s: float
) -> StoredJob | None:
    deadline_s = deps.clock_s() + timeout_s
    async with deps.waiters.register(key) as waiter:
        may_wait = waiter is not None
        while True:
            stored = await deps.jobs.find(key, projection)
            left_s = deadline_s - deps.clock_s()
            if waiter is None or not may_wait or left_s <= 0 or condition(stored.job if stored else None):
                return stored
            may_wait = await waiter.wait(left_s)


def is_recent(key: JobKey, deps: Deps) -> bool:
    """Whether the job id was made within the last seconds, allowing for a difference between clocks."""
    made_us = timestamp_us(key.job_id)
    return made_us is not None and abs(deps.now_us() - made_us) < RECENT_US


def projection_for(request: EventsRequest) -> Projection:
    """The fields that a page of events is built from."""
    return ALL_EVENTS if request.show_all else FAULT_EVENTS


async def get_events(stored: StoredJob, request: EventsRequest, deps: Deps) -> Page:
    """A page of a job's events."""
    job, block = stored.job, stored.block
    if block is not None:
        return build_events_page(job, [block], request)
    blocks = await _find_published(job, select_event_chunks(job, request), projection_for(request), deps)
    return build_events_page(job, blocks, request)


async def get_records(stored: StoredJob, outcome: str, deps: Deps, *, first: int, rows: int) -> Page:
    """A page of a job's records with one outcome."""
    job, block = stored.job, stored.block
    if block is not None:
        return build_records_page(job, [block], outcome, first=first, rows=rows)
    numbers = select_record_chunks(job, outcome, first=first, rows=rows)
    blocks = await _find_published(job, numbers, RECORDS, deps)
    return build_records_page(job, blocks, outcome, first=first, rows=rows)


async def _find_published(job: Job, numbers: Sequence[int], projection: Projection, deps: Deps) -> list[Block]:
    """Chunks in the state that the job has published: an entity tag names the job's version."""
    blocks = await deps.jobs.find_chunks(job, numbers, projection)
    return [published_part(block, job.chunk_tallies[block.number]) for block in blocks]
