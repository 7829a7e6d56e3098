"""Read jobs, waiting for them where a caller wants to."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from typing import Protocol

from msgspec.structs import replace

from services.jobs.events import JobKey
from services.status.domain.block import ALL_EVENTS, FAULT_EVENTS, NO_PROJECTION, RECORDS, Projection
from services.status.domain.chunks import published_part
from services.status.domain.job import Job, StoredJob
from services.status.domain.listing import JobListQuery, ListPosition, list_position
from services.status.domain.page import (
    EventsPageBuilder,
    EventsRequest,
    Page,
    RecordsPageBuilder,
    select_event_chunks,
    select_record_chunks,
)
from services.status.domain.summary import render_job
from services.status.ports import JobReader
from services.values.time_uuids import timestamp_us

RECENT_US = 10_000_000
NEW_JOB_TIMEOUT_S = 2.0
# Blocks and fragments that are added to a page before other tasks run: most fragments hold many stored events.
BLOCKS_PER_TURN, FRAGMENTS_PER_TURN = 4, 50
# Jobs of a list that are rendered before other tasks run.
JOBS_PER_TURN = 250
# They take about 4 MiB; the next page continues.
MAX_JOBS_PER_PAGE = 5_000


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
    builder = EventsPageBuilder(stored.job, request)
    await _fill(builder, stored, select_event_chunks(stored.job, request), projection_for(request), deps)
    return builder.build()


async def get_records(stored: StoredJob, outcome: str, deps: Deps, *, first: int, rows: int) -> Page:
    """A page of a job's records with one outcome."""
    builder = RecordsPageBuilder(stored.job, outcome, first=first, rows=rows)
    numbers = select_record_chunks(stored.job, outcome, first=first, rows=rows)
    await _fill(builder, stored, numbers, RECORDS, deps)
    return builder.build()


async def _fill(
    builder: EventsPageBuilder | RecordsPageBuilder,
    stored: StoredJob,
    numbers: Sequence[int],
    projection: Projection,
    deps: Deps,
) -> None:
    """Add the job's blocks until the page is full. Other tasks run after a few: a page may have dozens."""
    if stored.block is not None:
        builder.add_block(stored.block)
        return
    job, added, turn_end = stored.job, 0, FRAGMENTS_PER_TURN
    async with aclosing(deps.jobs.iterate_chunks(job, numbers, projection)) as blocks:
        async for block in blocks:
            # An entity tag names the job's version: runs that it has not published yet are not shown.
            builder.add_block(published_part(block, job.chunk_tallies[block.number]))
            if builder.is_full:
                return
            added += 1
            if added == BLOCKS_PER_TURN or len(builder.fragments) >= turn_end:
                added, turn_end = 0, len(builder.fragments) + FRAGMENTS_PER_TURN
                await asyncio.sleep(0)


async def list_jobs(query: JobListQuery, deps: Deps) -> tuple[int, ListPosition | None, list[str]]:
    """A page of jobs: their number, the position of the last one if more follow, and JSON."""
    query = replace(query, rows=min(query.rows, MAX_JOBS_PER_PAGE))
    found = await deps.jobs.list_jobs(query)
    page, fragments = found[: query.rows], []
    for start in range(0, len(page), JOBS_PER_TURN):
        fragments.append(",".join(map(render_job, page[start : start + JOBS_PER_TURN])))
        await asyncio.sleep(0)
    return len(page), list_position(page[-1]) if len(found) > query.rows else None, fragments
