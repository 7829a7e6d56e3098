"""Apply job events to the stored jobs."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from services.chassis.runtime.errors import ContentionError
from services.chassis.runtime.failpoints import failpoint
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
from services.status.flows.terminal_jobs import TerminalJobs
from services.status.ports import FinishedPublisher, JobWriter, Notifier, SiteProfiles

# An attempt fails when another writer was faster; that many in a row mean that something is wrong.
MAX_ATTEMPTS = 50

# Small jobs in one write, and concurrent writes.
JOBS_PER_WRITE, CONCURRENT_WRITES = 200, 3

_Work = TypeVar("_Work")
_before_publishing = failpoint("status.before_publishing_finished")

_ENDED = {state: metrics.JOBS_ENDED.labels(state.value) for state in JobState if state not in OPEN_STATES}


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything that applying events may touch."""

    jobs: JobWriter
    site_profiles: SiteProfiles
    notifier: Notifier
    finished: FinishedPublisher
    now_us: Callable[[], int]


async def apply_events(events: Iterable[JobEvent], deps: Deps, *, optimistic: bool = True) -> bool:
    """Apply the events to their jobs, whatever is stored of them already.

    Returns once everything is durable and the end of every job that has ended is published: the caller may commit. The
    result says whether the next call should be `optimistic`, that is, whether most jobs were in the state that first
    deliveries find. Raises `UnavailableError` when the store or Kafka does not respond; applying the same events again
    changes no job, and publishes their ends again (`docs/delivery.md`).
    """
    terminal_jobs = TerminalJobs(deps.jobs, on_written=lambda jobs: _count_ended(jobs, deps.now_us()))
    deps = replace(deps, jobs=terminal_jobs)
    updates = group_by_job(events)
    small = [update for update in updates.values() if not is_large(update.header.total)]
    large = [update for update in updates.values() if is_large(update.header.total)]
    conflicts = await _write_optimistically(small, deps) if optimistic else small
    became_large, would_have_matched = await _merge(conflicts, deps)
    large += became_large
    await _run_concurrently(iter(large), lambda update: _apply_to_large(update, deps), count=len(large))
    deps.notifier.notify(list(updates))
    if terminal_jobs.found:
        _before_publishing()
        await deps.finished.publish_finished(list(terminal_jobs.found.values()))
    matched = len(small) - len(conflicts) if optimistic else would_have_matched
    return 2 * matched >= len(small) if small else optimistic


async def _write_optimistically(updates: Sequence[JobUpdate], deps: Deps) -> list[JobUpdate]:
    """Write without reading first: an update with an opened event creates the job, any other finds it just opened.

    Returns the updates that were not written.
    """
    starts = range(0, len(updates), JOBS_PER_WRITE)
    slices = iter([updates[start : start + JOBS_PER_WRITE] for start in starts])
    conflicts: list[JobUpdate] = []

    async def write_slice(part: Sequence[JobUpdate]) -> None:
        lost = await _write([_optimistic_change(update, deps) for update in part], deps)
        if lost:
            conflicts.extend(update for update in part if update.key in lost)
        if len(lost) > len(part) // 2:
            # Most of it is stored already: the events are redelivered, and reading first is cheaper.
            conflicts.extend(update for rest in slices for update in rest)

    await _run_concurrently(slices, write_slice, count=len(starts))
    return conflicts


async def _run_concurrently(work: Iterator[_Work], run: Callable[[_Work], Awaitable[None]], *, count: int) -> None:
    """Share the work among several tasks: the store is busy with one item while another is prepared."""

    async def run_all() -> None:
        for item in work:
            await run(item)

    if count <= 1:
        await run_all()
        return
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(run_all()) for _ in range(min(CONCURRENT_WRITES, count))]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    for task in tasks:
        # A task group ignores a cancelled task, but its item is not done.
        task.result()


async def _write(changes: Iterable[JobChange | None], deps: Deps) -> frozenset[JobKey]:
    """Write the changes; returns the keys of those that may not have been written."""
    present = [change for change in changes if change is not None]
    if not present:
        return frozenset()
    return await deps.jobs.write(present)


def _count_ended(terminal: Sequence[Job], now_us: int) -> None:
    """Count the jobs that ended with their last write; later ones change nothing that is shown."""
    ended = [job for job in terminal if job.shown_version == job.version]
    for state, count in Counter([job.state for job in ended]).items():
        _ENDED[state].inc(count)
    metrics.END_TO_END.observe_all([max(now_us - job.profile.header.created_at, 0) / 1_000_000 for job in ended])


def _optimistic_change(update: JobUpdate, deps: Deps) -> JobChange | None:
    profile = _job_profile(update, deps)
    return apply_update(new_job(profile), update) if update.is_opened else apply_update_blind(profile, update)


async def _merge(updates: Sequence[JobUpdate], deps: Deps) -> tuple[list[JobUpdate], int]:
    """Read the jobs, merge the updates, write them unless another writer was faster; repeat for those.

    Returns the updates whose stored job turned out to be large, and how many optimistic writes would have succeeded.
    """
    became_large: list[JobUpdate] = []
    would_have_matched = 0
    for attempt in range(MAX_ATTEMPTS):
        if not updates:
            return became_large, would_have_matched
        stored = await deps.jobs.load([update.key for update in updates])
        if not attempt:
            would_have_matched = sum(_would_match(update, stored.get(update.key)) for update in updates)
        jobs = {update.key: stored.get(update.key) or new_job(_job_profile(update, deps)) for update in updates}
        became_large += [update for update in updates if jobs[update.key].job.is_large]
        updates = [update for update in updates if not jobs[update.key].job.is_large]
        metrics.MERGES.inc(len(updates))
        lost = await _write([apply_update(jobs[update.key], update) for update in updates], deps) if updates else ()
        updates = [update for update in updates if update.key in lost]
    raise ContentionError("the job store")


def _would_match(update: JobUpdate, stored: StoredJob | None) -> bool:
    """Whether the job is in the state that `_optimistic_change` expects."""
    return stored is None if update.is_opened else stored is not None and stored.job.version == 1


def _job_profile(update: JobUpdate, deps: Deps) -> JobProfile:
    return JobProfile(update.header, deps.site_profiles.get(update.key.site))


async def _apply_to_large(update: JobUpdate, deps: Deps) -> None:
    """Write the chunks first, then publish them in the job."""
    job = await _load_or_create(update, deps)
    if not job.is_large:
        # An event with another header came first, and says that the job is small.
        if (await _merge([update], deps))[0]:
            raise ContentionError("the job store")
        return
    blocks = await _write_chunks(job, split_by_chunk(update.runs, job.profile.total), deps)
    await _publish(job, list(blocks.values()), deps)


async def _load_or_create(update: JobUpdate, deps: Deps) -> Job:
    """The stored job, created if necessary: its header must be fixed before its chunks are cut."""
    for _ in range(MAX_ATTEMPTS):
        stored = (await deps.jobs.load([update.key])).get(update.key)
        if stored is not None:
            return stored.job
        change = publish_chunks(new_job(_job_profile(update, deps)).job, ())
        if change is not None and not await _write([change], deps):
            return change.job
    raise ContentionError("the job store")


async def _write_chunks(job: Job, runs: Mapping[int, Sequence[TimedRun]], deps: Deps) -> dict[int, Block]:
    """Merge the runs into their chunks; returns the chunks, all of them stored."""
    written: dict[int, Block] = {}
    # A chunk that the job has not published probably does not exist.
    known = {number: _empty_chunk(job, number) for number in runs if not job.chunk_tallies[number].version}
    for _ in range(MAX_ATTEMPTS):
        left = [number for number in runs if number not in written]
        if not left:
            return written
        unread = [number for number in left if number not in known]
        if unread:
            known |= {number: _empty_chunk(job, number) for number in unread}
            known |= {block.number: block for block in await deps.jobs.find_chunks(job, unread)}
        changes = _merge_chunks(job, {number: known[number] for number in left}, runs)
        lost = await deps.jobs.write_chunks([change for change in changes.values() if change.added_runs])
        written |= {number: change.block for number, change in changes.items() if number not in lost}
        known = {number: block for number, block in known.items() if number not in lost}
    raise ContentionError("the job store")


def _merge_chunks(
    job: Job, blocks: Mapping[int, Block], runs: Mapping[int, Sequence[TimedRun]]
) -> dict[int, ChunkChange]:
    changes = {}
    for number, block in blocks.items():
        merged, added = merge_runs(block, runs[number], job.profile)
        changes[number] = ChunkChange(job.key, block.version, merged, added)
    return changes


def _empty_chunk(job: Job, number: int) -> Block:
    return empty_block(number, number * CHUNK_SIZE, chunk_size(number, job.profile.total))


async def _publish(job: Job, blocks: Sequence[Block], deps: Deps) -> None:
    for _ in range(MAX_ATTEMPTS):
        if not await _write([publish_chunks(job, blocks)], deps):
            return
        stored = (await deps.jobs.load([job.key])).get(job.key)
        if stored is None:
            # The job has been deleted by retention meanwhile.
            return
        job = stored.job
    raise ContentionError("the job store")
