"""From events of jobs to what readers are shown."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from services.chassis.runtime.errors import UnavailableError
from services.status import metrics
from services.status.domain.block import Block, absorb, empty_block
from services.status.domain.chunks import SIZE, by_chunk, is_large, size_of
from services.status.domain.facts import JobEvent, Key
from services.status.domain.job import (
    OPEN,
    Change,
    ChunkChange,
    Job,
    Standing,
    State,
    advanced,
    begun,
    guessed,
    published,
)
from services.status.domain.profile import Profile
from services.status.domain.updates import Dated, News, fold
from services.status.ports import Bell, Origins, Writing

# Every round that loses means that another writer won; so many in a row mean that something is wrong.
MOST_ROUNDS = 50

# So many small jobs are written at once, by one of so many writers.
SLICE, WRITERS = 200, 3

_Work = TypeVar("_Work")

_ENDED = {state: metrics.JOBS_ENDED.labels(state.value) for state in State if state not in OPEN}


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything recording may touch."""

    jobs: Writing
    origins: Origins
    bell: Bell
    now_us: Callable[[], int]


async def record(events: Iterable[JobEvent], world: World, *, guessing: bool = True) -> bool:
    """Put what these events say into the jobs, whatever was known of them before.

    Returns once all of it is durable, so the caller may commit, and whether `guessing` paid or would have paid: whether
    most jobs were as they are when events come for the first time. Raises `Away` when the store does not answer;
    recording the same events again changes nothing (`docs/delivery.md`).
    """
    news = fold(events)
    small = [item for item in news.values() if not is_large(item.header.total)]
    large = [item for item in news.values() if is_large(item.header.total)]
    unsure = await _write_unread(small, world) if guessing else small
    larger, guessable = await _merge(unsure, world)
    large += larger
    await _by_several(iter(large), lambda item: _record_large(item, world), pieces=len(large))
    world.bell.ring(list(news))
    right = len(small) - len(unsure) if guessing else guessable
    return 2 * right >= len(small) if small else guessing


async def _write_unread(news: Sequence[News], world: World) -> list[News]:
    """Write what is probably right without reading: a job that opens is new, one that does not is just opened.

    Returns what was not written.
    """
    starts = range(0, len(news), SLICE)
    slices = iter([news[start : start + SLICE] for start in starts])
    left: list[News] = []

    async def write_slice(some: Sequence[News]) -> None:
        lost = await _write([_unread(item, world) for item in some], world)
        left.extend(item for item in some if item.key in lost)
        if len(lost) > len(some) // 2:
            # Most of it is known already: events come again, and guessing costs more than reading.
            left.extend(item for rest in slices for item in rest)

    await _by_several(slices, write_slice, pieces=len(starts))
    return left


async def _by_several(work: Iterator[_Work], do: Callable[[_Work], Awaitable[None]], *, pieces: int) -> None:
    """Several writers share the work: the store is busy with some of it while another piece is being prepared."""

    async def writer() -> None:
        for piece in work:
            await do(piece)

    if pieces <= 1:
        await writer()
        return
    try:
        async with asyncio.TaskGroup() as group:
            writers = [group.create_task(writer()) for _ in range(min(WRITERS, pieces))]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    for one in writers:
        # A group does not mind one that was cancelled; but its piece is not done.
        one.result()


async def _write(changes: Iterable[Change | None], world: World) -> frozenset[Key]:
    """Write what there is to write; returns what may not have been written."""
    found = [change for change in changes if change is not None]
    if not found:
        # It is all there already, but who wrote it may not have been told yet that it stays.
        await world.jobs.settle()
        return frozenset()
    lost = await world.jobs.write(found)
    _measure(found, lost, world.now_us())
    return lost


def _measure(changes: Iterable[Change], lost: frozenset[Key], now_us: int) -> None:
    """Count the jobs that these writes have ended."""
    ended: Counter[State] = Counter()
    for change in changes:
        job = change.job
        if job.is_terminal and job.shown == job.version and job.key not in lost:
            ended[job.state] += 1
            metrics.END_TO_END.observe(max(now_us - job.profile.header.created_us, 0) / 1_000_000)
    for state, jobs in ended.items():
        _ENDED[state].inc(jobs)


def _unread(news: News, world: World) -> Change | None:
    profile = Profile(news.header, world.origins.of(news.key.site))
    return advanced(begun(profile), news) if news.is_opened else guessed(profile, news)


async def _merge(news: Sequence[News], world: World) -> tuple[list[News], int]:
    """Read, merge, write if nobody wrote meanwhile, until nothing is new.

    Returns what is of large jobs after all, and of how many jobs the first look found what one would have guessed.
    """
    larger: list[News] = []
    guessable: int | None = None
    for _ in range(MOST_ROUNDS):
        if not news:
            return larger, guessable or 0
        stored = await world.jobs.standings([item.key for item in news])
        if guessable is None:
            guessable = sum(_is_guessable(item, stored.get(item.key)) for item in news)
        found = {item.key: stored.get(item.key) or begun(_profile(item, world)) for item in news}
        larger += [item for item in news if found[item.key].job.is_large]
        news = [item for item in news if not found[item.key].job.is_large]
        if not news:
            return larger, guessable
        metrics.MERGES.inc(len(news))
        lost = await _write([advanced(found[item.key], item) for item in news], world)
        news = [item for item in news if item.key in lost]
    raise UnavailableError("the job store")


def _is_guessable(news: News, stored: Standing | None) -> bool:
    """Whether the job is as `_unread` takes it to be."""
    return stored is None if news.is_opened else stored is not None and stored.job.version == 1


def _profile(news: News, world: World) -> Profile:
    return Profile(news.header, world.origins.of(news.key.site))


async def _record_large(news: News, world: World) -> None:
    """Write the chunks first; the job publishes them."""
    job = await _opened(news, world)
    if not job.is_large:
        # Another header came first and said that the job is small.
        if (await _merge([news], world))[0]:
            raise UnavailableError("the job store")
        return
    blocks = await _write_chunks(job, by_chunk(news.runs, job.profile.total), world)
    await _publish(job, list(blocks.values()), world)


async def _opened(news: News, world: World) -> Job:
    """The job as it is stored, if need be just now: its header must be settled before its chunks are cut."""
    for _ in range(MOST_ROUNDS):
        stored = (await world.jobs.standings([news.key])).get(news.key)
        if stored is not None:
            return stored.job
        change = published(begun(_profile(news, world)).job, ())
        if change is not None and not await _write([change], world):
            return change.job
    raise UnavailableError("the job store")


async def _write_chunks(job: Job, runs: Mapping[int, Sequence[Dated]], world: World) -> dict[int, Block]:
    """Bring the runs into their chunks; returns the chunks, all of them stored."""
    done: dict[int, Block] = {}
    # What the job has not published is probably not there.
    found = {number: _empty(job, number) for number in runs if not job.chunks[number].version}
    for _ in range(MOST_ROUNDS):
        left = [number for number in runs if number not in done]
        if not left:
            return done
        unread = [number for number in left if number not in found]
        if unread:
            found |= {number: _empty(job, number) for number in unread} | await world.jobs.chunks(job, unread)
        changes = _chunk_changes(job, {number: found[number] for number in left}, runs)
        lost = await world.jobs.write_chunks([change for change in changes.values() if change.added])
        done |= {number: change.block for number, change in changes.items() if number not in lost}
        found = {number: block for number, block in found.items() if number not in lost}
    raise UnavailableError("the job store")


def _chunk_changes(job: Job, found: Mapping[int, Block], runs: Mapping[int, Sequence[Dated]]) -> dict[int, ChunkChange]:
    changes = {}
    for number, block in found.items():
        grown, added = absorb(block, runs[number], job.profile)
        changes[number] = ChunkChange(job.key, block.version, grown, added)
    return changes


def _empty(job: Job, number: int) -> Block:
    return empty_block(number, number * SIZE, size_of(number, job.profile.total))


async def _publish(job: Job, blocks: Sequence[Block], world: World) -> None:
    for _ in range(MOST_ROUNDS):
        if not await _write([published(job, blocks)], world):
            return
        stored = (await world.jobs.standings([job.key])).get(job.key)
        if stored is None:
            # Retention took it meanwhile.
            return
        job = stored.job
    raise UnavailableError("the job store")
