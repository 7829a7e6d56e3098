"""What readers are told of a job, at once or as soon as there is something to tell."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from services.jobs.events import JobKey
from services.status.domain.block import ALL_EVENTS, FAULT_EVENTS, NO_PROJECTION, RECORDS, Projection
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
    """A place among those who wait for a job."""

    async def wait(self, within_s: float) -> bool:
        """Whether the job changed in time; False, too, when nobody may wait any longer."""
        ...


class JobWaiters(Protocol):
    """Lets requests wait for a job."""

    def register(self, key: JobKey) -> AbstractAsyncContextManager[Waiter | None]:
        """A turn, or None if too many wait already. Look at the job after this, not before."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything reading may touch. `now_us` tells the time of day, `clock_s` measures."""

    jobs: JobReader
    waiters: JobWaiters
    now_us: Callable[[], int]
    clock_s: Callable[[], float]


async def find_job(key: JobKey, world: Deps, *, projection: Projection = NO_PROJECTION) -> StoredJob | None:
    """The job; one that was issued just now is waited for, since its events may still be on their way."""
    found = await world.jobs.find(key, projection)
    if found is not None or not is_recent(key, world):
        return found
    return await _wait_until(key, world, lambda job: job is not None, texts=projection, within_s=NEW_JOB_TIMEOUT_S)


async def find_ended_job(
    key: JobKey, world: Deps, *, projection: Projection = NO_PROJECTION, timeout_s: float
) -> StoredJob | None:
    """The job as soon as it has ended; as it is then if that takes too long."""
    found = await find_job(key, world, projection=projection)
    if found is None or found.job.is_terminal or timeout_s <= 0:
        return found
    return await _wait_until(
        key, world, lambda job: job is None or job.is_terminal, texts=projection, within_s=timeout_s
    )


async def _wait_until(
    key: JobKey, world: Deps, suits: Callable[[Job | None], bool], *, texts: Projection, within_s: float
) -> StoredJob | None:
    until = world.clock_s() + within_s
    async with world.waiters.register(key) as turn:
        may_wait = turn is not None
        while True:
            found = await world.jobs.find(key, texts)
            left_s = until - world.clock_s()
            if turn is None or not may_wait or left_s <= 0 or suits(found.job if found else None):
                return found
            may_wait = await turn.wait(left_s)


def is_recent(key: JobKey, world: Deps) -> bool:
    """Whether the id itself says that it was made just now, by a clock that may differ from ours."""
    made_us = timestamp_us(key.job_id)
    return made_us is not None and abs(world.now_us() - made_us) < RECENT_US


def projection_for(wish: EventsRequest) -> Projection:
    """What a page of events is made from."""
    return ALL_EVENTS if wish.show_all else FAULT_EVENTS


async def get_events(standing: StoredJob, wish: EventsRequest, world: Deps) -> Page:
    """A page of a job's events."""
    job, block = standing.job, standing.block
    if block is not None:
        return build_events_page(job, [block], wish)
    blocks = await world.jobs.find_chunks(job, select_event_chunks(job, wish), projection_for(wish))
    return build_events_page(job, blocks, wish)


async def get_records(standing: StoredJob, outcome: str, world: Deps, *, first: int, rows: int) -> Page:
    """A page of a job's records with one outcome."""
    job, block = standing.job, standing.block
    if block is not None:
        return build_records_page(job, [block], outcome, first=first, rows=rows)
    numbers = select_record_chunks(job, outcome, first=first, rows=rows)
    return build_records_page(job, await world.jobs.find_chunks(job, numbers, RECORDS), outcome, first=first, rows=rows)
