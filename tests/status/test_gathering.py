"""Questions of one moment are asked at once; their answers are never older than the questions."""

import asyncio
from collections.abc import Sequence

import pytest

from services.chassis.runtime.errors import UnavailableError
from services.status.adapters.job_loader import MOST, Gathering
from services.status.domain.facts import Key
from services.status.domain.job import Standing
from services.status.domain.texts import EVENTS_ONLY, Texts
from services.status.flows import apply_events
from tests.chassis.eventually import until
from tests.status.events import JOB, a_header, a_run, judged, opened
from tests.status.memory import Belfry, MemoryJobs, MemoryOrigins

OTHER = Key(609, JOB.job_id)


class Shelf(MemoryJobs):
    """Counts how often it is asked, and for what; may be away."""

    def __init__(self) -> None:
        super().__init__(turns=lambda: 3)
        self.asked: list[int] = []
        self.is_away = False

    async def find_all(self, keys: Sequence[Key], texts: Texts) -> dict[Key, Standing]:
        self.asked.append(len(keys))
        if self.is_away:
            raise UnavailableError("MongoDB")
        found = [await self.find(key, texts) for key in keys]
        return {standing.job.key: standing for standing in found if standing is not None}


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


async def put(shelf: Shelf, *keys: Key) -> None:
    world = apply_events.World(jobs=shelf, origins=MemoryOrigins(), bell=Belfry(), now_us=lambda: 0)
    await apply_events.record([opened(a_header(key=key)) for key in keys], world)


async def test_who_asks_at_the_same_moment_shares_a_query(shelf: Shelf) -> None:
    await put(shelf, JOB)
    jobs = Gathering(shelf)
    first, again, other = await asyncio.gather(jobs.find(JOB), jobs.find(JOB), jobs.find(OTHER))
    assert first is not None
    assert again is first
    assert other is None
    assert shelf.asked == [2]
    await asyncio.gather(jobs.find(JOB), jobs.find(JOB, EVENTS_ONLY))
    assert shelf.asked == [2, 1, 1]


async def test_who_asks_later_gets_a_later_answer(shelf: Shelf) -> None:
    """Or what was written between the two would be missed."""
    await put(shelf, JOB)
    jobs = Gathering(shelf)
    early = asyncio.create_task(jobs.find(JOB))
    await until(lambda: shelf.asked == [1])
    world = apply_events.World(jobs=shelf, origins=MemoryOrigins(), bell=Belfry(), now_us=lambda: 0)
    writing = asyncio.create_task(apply_events.record([judged(a_run("SS"))], world))
    await early
    await writing
    late = await jobs.find(JOB)
    assert late is not None
    assert late.job.is_terminal


async def test_a_query_has_so_many_jobs_at_most(shelf: Shelf) -> None:
    keys = [Key(number, JOB.job_id) for number in range(2 * MOST + 1)]
    await put(shelf, *keys)
    jobs = Gathering(shelf)
    found = await asyncio.gather(*map(jobs.find, keys))
    assert [standing.job.key for standing in found if standing] == keys
    assert shelf.asked == [MOST, MOST, 1]


async def test_who_gives_up_takes_the_answer_from_nobody(shelf: Shelf) -> None:
    await put(shelf, JOB)
    jobs = Gathering(shelf)
    hasty, patient = asyncio.create_task(jobs.find(JOB)), asyncio.create_task(jobs.find(JOB))
    await asyncio.sleep(0)
    hasty.cancel()
    assert await patient is not None
    assert hasty.cancelled()


async def test_all_hear_that_the_store_is_away_and_the_next_asks_anew(shelf: Shelf) -> None:
    await put(shelf, JOB)
    jobs = Gathering(shelf)
    shelf.is_away = True
    heard = await asyncio.gather(jobs.find(JOB), jobs.find(OTHER), return_exceptions=True)
    assert [type(error) for error in heard] == [UnavailableError, UnavailableError]
    shelf.is_away = False
    assert await jobs.find(JOB) is not None
