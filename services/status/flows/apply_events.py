"""From events of jobs to what readers are shown."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from services.chassis.runtime.errors import UnavailableError
from services.jobs.events import JobEvent, JobKey
from services.status import metrics
from services.status.domain.block import Block, empty_block, merge_runs
from services.status.domain.chunks import CHUNK_SIZE, chunk_size, is_large, split_by_chunk
from services.status.domain.job import (
    OPEN_STATES,
    ChunkChange,
    Job,
    JobChange,
    JobState,
    StoredJob,
    apply_update,
    apply_update_blind,
    new_job,
    publish_chunks,
)
from services.status.domain.profile import JobProfile
from services.status.domain.updates import JobUpdate, TimedRun, group_by_job
from services.status.ports import JobWriter, Notifier, SiteProfiles

# Every round that loses means that another writer won; so many in a row mean that something is wrong.
MAX_ATTEMPTS = 50

# So many small jobs are written at once, by one of so many writers.
JOBS_PER_WRITE, CONCURRENT_WRITES = 200, 3

_Work = TypeVar("_Work")

_ENDED = {state: metrics.JOBS_ENDED.labels(state.value) for state in JobState if state not in OPEN_STATES}


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything recording may touch."""

    jobs: JobWriter
    site_profiles: SiteProfiles
    notifier: Notifier
    now_us: Callable[[], int]


async def apply_events(events: Iterable[JobEvent], deps: Deps, *, optimistic: bool = True) -> bool:
    """Put what these events say into the jobs, whatever was known of them before.

    Returns once all of it is durable, so the caller may commit, and whether `guessing` paid or would have paid: whether
    most jobs were as they are when events come for the first time. Raises `Away` when the store does not answer;
    recording the same events again changes nothing (`docs/delivery.md`).
    """
    news = group_by_job(events)
    small = [item for item in news.values() if not is_large(item.header.total)]
    large = [item for item in news.values() if is_large(item.header.total)]
    unsure = await _write_optimistically(small, deps) if optimistic else small
    larger, guessable = await _merge(unsure, deps)
    large += larger
    await _run_concurrently(iter(large), lambda item: _apply_to_large(item, deps), pieces=len(large))
    deps.notifier.notify(list(news))
    right = len(small) - len(unsure) if optimistic else guessable
    return 2 * right >= len(small) if small else optimistic


async def _write_optimistically(news: Sequence[JobUpdate], world: Deps) -> list[JobUpdate]:
    """Write what is probably right without reading: a job that opens is new, one that does not is just opened.

    Returns what was not written.
    """
    starts = range(0, len(news), JOBS_PER_WRITE)
    slices = iter([news[start : start + JOBS_PER_WRITE] for start in starts])
    left: list[JobUpdate] = []

    async def write_slice(some: Sequence[JobUpdate]) -> None:
        lost = await _write([_optimistic_change(item, world) for item in some], world)
        left.extend(item for item in some if item.key in lost)
        if len(lost) > len(some) // 2:
            # Most of it is known already: events come again, and guessing costs more than reading.
            left.extend(item for rest in slices for item in rest)

    await _run_concurrently(slices, write_slice, pieces=len(starts))
    return left


async def _run_concurrently(work: Iterator[_Work], do: Callable[[_Work], Awaitable[None]], *, pieces: int) -> None:
    """Several writers share the work: the store is busy with some of it while another piece is being prepared."""

    async def writer() -> None:
        for piece in work:
            await do(piece)

    if pieces <= 1:
        await writer()
        return
    try:
        async with asyncio.TaskGroup() as group:
            writers = [group.create_task(writer()) for _ in range(min(CONCURRENT_WRITES, pieces))]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    for one in writers:
        # A group does not mind one that was cancelled; but its piece is not done.
        one.result()


async def _write(changes: Iterable[JobChange | None], world: Deps) -> frozenset[JobKey]:
    """Write what there is to write; returns what may not have been written."""
    found = [change for change in changes if change is not None]
    if not found:
        # It is all there already, but who wrote it may not have been told yet that it stays.
        await world.jobs.wait_until_durable()
        return frozenset()
    lost = await world.jobs.write(found)
    _count_ended(found, lost, world.now_us())
    return lost


def _count_ended(changes: Iterable[JobChange], lost: frozenset[JobKey], now_us: int) -> None:
    """Count the jobs that these writes have ended."""
    ended: Counter[JobState] = Counter()
    for change in changes:
        job = change.job
        if job.is_terminal and job.shown_version == job.version and job.key not in lost:
            ended[job.state] += 1
            metrics.END_TO_END.observe(max(now_us - job.profile.header.created_at, 0) / 1_000_000)
    for state, jobs in ended.items():
        _ENDED[state].inc(jobs)


def _optimistic_change(news: JobUpdate, world: Deps) -> JobChange | None:
    profile = JobProfile(news.header, world.site_profiles.get(news.key.site))
    return apply_update(new_job(profile), news) if news.is_opened else apply_update_blind(profile, news)


async def _merge(news: Sequence[JobUpdate], world: Deps) -> tuple[list[JobUpdate], int]:
    """Read, merge, write if nobody wrote meanwhile, until nothing is new.

    Returns what is of large jobs after all, and of how many jobs the first look found what one would have guessed.
    """
    larger: list[JobUpdate] = []
    guessable: int | None = None
    for _ in range(MAX_ATTEMPTS):
        if not news:
            return larger, guessable or 0
        stored = await world.jobs.load([item.key for item in news])
        if guessable is None:
            guessable = sum(_would_match(item, stored.get(item.key)) for item in news)
        found = {item.key: stored.get(item.key) or new_job(_job_profile(item, world)) for item in news}
        larger += [item for item in news if found[item.key].job.is_large]
        news = [item for item in news if not found[item.key].job.is_large]
        if not news:
            return larger, guessable
        metrics.MERGES.inc(len(news))
        lost = await _write([apply_update(found[item.key], item) for item in news], world)
        news = [item for item in news if item.key in lost]
    raise UnavailableError("the job store")


def _would_match(news: JobUpdate, stored: StoredJob | None) -> bool:
    """Whether the job is as `_unread` takes it to be."""
    return stored is None if news.is_opened else stored is not None and stored.job.version == 1


def _job_profile(news: JobUpdate, world: Deps) -> JobProfile:
    return JobProfile(news.header, world.site_profiles.get(news.key.site))


async def _apply_to_large(news: JobUpdate, world: Deps) -> None:
    """Write the chunks first; the job publishes them."""
    job = await _load_or_create(news, world)
    if not job.is_large:
        # Another header came first and said that the job is small.
        if (await _merge([news], world))[0]:
            raise UnavailableError("the job store")
        return
    blocks = await _write_chunks(job, split_by_chunk(news.runs, job.profile.total), world)
    await _publish(job, list(blocks.values()), world)


async def _load_or_create(news: JobUpdate, world: Deps) -> Job:
    """The job as it is stored, if need be just now: its header must be settled before its chunks are cut."""
    for _ in range(MAX_ATTEMPTS):
        stored = (await world.jobs.load([news.key])).get(news.key)
        if stored is not None:
            return stored.job
        change = publish_chunks(new_job(_job_profile(news, world)).job, ())
        if change is not None and not await _write([change], world):
            return change.job
    raise UnavailableError("the job store")


async def _write_chunks(job: Job, runs: Mapping[int, Sequence[TimedRun]], world: Deps) -> dict[int, Block]:
    """Bring the runs into their chunks; returns the chunks, all of them stored."""
    done: dict[int, Block] = {}
    # What the job has not published is probably not there.
    found = {number: _empty_chunk(job, number) for number in runs if not job.chunk_tallies[number].version}
    for _ in range(MAX_ATTEMPTS):
        left = [number for number in runs if number not in done]
        if not left:
            return done
        unread = [number for number in left if number not in found]
        if unread:
            found |= {number: _empty_chunk(job, number) for number in unread} | await world.jobs.load_chunks(
                job, unread
            )
        changes = _merge_chunks(job, {number: found[number] for number in left}, runs)
        lost = await world.jobs.write_chunks([change for change in changes.values() if change.added_runs])
        done |= {number: change.block for number, change in changes.items() if number not in lost}
        found = {number: block for number, block in found.items() if number not in lost}
    raise UnavailableError("the job store")


def _merge_chunks(
    job: Job, found: Mapping[int, Block], runs: Mapping[int, Sequence[TimedRun]]
) -> dict[int, ChunkChange]:
    changes = {}
    for number, block in found.items():
        grown, added = merge_runs(block, runs[number], job.profile)
        changes[number] = ChunkChange(job.key, block.version, grown, added)
    return changes


def _empty_chunk(job: Job, number: int) -> Block:
    return empty_block(number, number * CHUNK_SIZE, chunk_size(number, job.profile.total))


async def _publish(job: Job, blocks: Sequence[Block], world: Deps) -> None:
    for _ in range(MAX_ATTEMPTS):
        if not await _write([publish_chunks(job, blocks)], world):
            return
        stored = (await world.jobs.load([job.key])).get(job.key)
        if stored is None:
            # Retention took it meanwhile.
            return
        job = stored.job
    raise UnavailableError("the job store")
