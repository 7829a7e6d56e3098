"""What readers are told of a job, at once or as soon as there is something to tell."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from services.status.domain.facts import Key
from services.status.domain.job import Job, Standing
from services.status.domain.page import (
    Page,
    Wish,
    chunks_for_events,
    chunks_for_records,
    events_page,
    records_page,
)
from services.status.domain.texts import ALL_EVENTS, EVENTS_ONLY, NO_TEXTS, RECORDS, Texts
from services.status.ports import Reading
from services.values.time_uuids import timestamp_us

YOUNG_US = 10_000_000
PATIENCE_S = 2.0


class Turn(Protocol):
    """A place among those who wait for a job."""

    async def rung(self, within_s: float) -> bool:
        """Whether the job changed in time; False, too, when nobody may wait any longer."""
        ...


class Waiting(Protocol):
    """Lets requests wait for a job."""

    def wait_for(self, key: Key) -> AbstractAsyncContextManager[Turn | None]:
        """A turn, or None if too many wait already. Look at the job after this, not before."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything reading may touch. `now_us` tells the time of day, `clock_s` measures."""

    jobs: Reading
    waiting: Waiting
    now_us: Callable[[], int]
    clock_s: Callable[[], float]


async def known(key: Key, world: World, *, texts: Texts = NO_TEXTS) -> Standing | None:
    """The job; one that was issued just now is waited for, since its events may still be on their way."""
    found = await world.jobs.find(key, texts)
    if found is not None or not is_young(key, world):
        return found
    return await _awaited(key, world, lambda job: job is not None, texts=texts, within_s=PATIENCE_S)


async def ended(key: Key, world: World, *, texts: Texts = NO_TEXTS, within_s: float) -> Standing | None:
    """The job as soon as it has ended; as it is then if that takes too long."""
    found = await known(key, world, texts=texts)
    if found is None or found.job.is_terminal or within_s <= 0:
        return found
    return await _awaited(key, world, lambda job: job is None or job.is_terminal, texts=texts, within_s=within_s)


async def _awaited(
    key: Key, world: World, suits: Callable[[Job | None], bool], *, texts: Texts, within_s: float
) -> Standing | None:
    until = world.clock_s() + within_s
    async with world.waiting.wait_for(key) as turn:
        may_wait = turn is not None
        while True:
            found = await world.jobs.find(key, texts)
            left_s = until - world.clock_s()
            if turn is None or not may_wait or left_s <= 0 or suits(found.job if found else None):
                return found
            may_wait = await turn.rung(left_s)


def is_young(key: Key, world: World) -> bool:
    """Whether the id itself says that it was made just now, by a clock that may differ from ours."""
    made_us = timestamp_us(key.job_id)
    return made_us is not None and abs(world.now_us() - made_us) < YOUNG_US


def texts_for(wish: Wish) -> Texts:
    """What a page of events is made from."""
    return ALL_EVENTS if wish.show_all else EVENTS_ONLY


async def events(standing: Standing, wish: Wish, world: World) -> Page:
    """A page of a job's events."""
    job, block = standing.job, standing.block
    if block is not None:
        return events_page(job, [block], wish)
    blocks = await world.jobs.read_chunks(job, chunks_for_events(job, wish), texts_for(wish))
    return events_page(job, blocks, wish)


async def records(standing: Standing, letter: str, world: World, *, low: int, rows: int) -> Page:
    """A page of a job's records with one outcome."""
    job, block = standing.job, standing.block
    if block is not None:
        return records_page(job, [block], letter, low=low, rows=rows)
    numbers = chunks_for_records(job, letter, low=low, rows=rows)
    return records_page(job, await world.jobs.read_chunks(job, numbers, RECORDS), letter, low=low, rows=rows)
