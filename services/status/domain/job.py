"""A job: its profile, its progress, and the version that every write is conditional on."""

from collections.abc import Iterator, Sequence
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from services.jobs.events import JobKey
from services.status.domain.block import Block, StoredRun, empty_block, merge_runs
from services.status.domain.chunks import CHUNK_SIZE, EMPTY_TALLY, Tally, build_tally, chunk_count, clip_runs, is_large
from services.status.domain.profile import JobProfile
from services.status.domain.updates import JobUpdate


class JobState(StrEnum):
    """A job's progress; the last four states are final."""

    RECEIVED = "RECEIVED"
    VALIDATING = "VALIDATING"
    COMPLETED = "COMPLETED"
    COMPLETED_WITH_WARNING = "COMPLETED_WITH_WARNING"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"


OPEN_STATES = (JobState.RECEIVED, JobState.VALIDATING)


class Job(Struct, frozen=True, gc=False):
    """A job without its runs.

    `version` grows with every write; `shown_version` is that of the last write that changed what the events show.
    `tally` counts the whole job. `chunk_tallies` has a tally for each chunk of a large job; it is empty for a small
    one, and where a query did not load them.
    """

    profile: JobProfile
    version: int
    shown_version: int
    tally: Tally
    chunk_tallies: tuple[Tally, ...] = ()

    @property
    def key(self) -> JobKey:
        """The job's key."""
        return self.profile.header.key

    @property
    def is_large(self) -> bool:
        """Whether its records are stored in chunks."""
        return bool(self.chunk_tallies)

    @property
    def state(self) -> JobState:
        """The state that follows from the counts."""
        tally, total = self.tally, self.profile.header.total
        if tally.succeeded == total:
            # Most jobs end like this.
            return JobState.COMPLETED
        decided = tally.decided_count
        if decided < total:
            return JobState.VALIDATING if decided else JobState.RECEIVED
        if tally.unprocessed:
            return JobState.EXPIRED
        if not tally.succeeded:
            return JobState.FAILED
        return JobState.COMPLETED_WITH_WARNING if tally.failed else JobState.COMPLETED

    @property
    def is_terminal(self) -> bool:
        """Whether all records are decided: what the events show changes no more."""
        tally = self.tally
        return tally.succeeded + tally.failed + tally.unprocessed == self.profile.header.total

    @property
    def last_us(self) -> int:
        """When its latest outcome happened, according to the events; its creation if there is none."""
        return max(self.tally.last_us, self.profile.header.created_at)


class StoredJob(Struct, frozen=True, gc=False):
    """A job as it is stored; a small one with its block. The job's `version` is 0 until it is stored."""

    job: Job
    block: Block | None


class JobChange(Struct, frozen=True, gc=False):
    """A conditional write of a job: valid only while the stored version is `expected_version` (0: none is stored).

    A blind one was computed without reading: it is valid only if the job was opened with this very profile and has not
    changed since.
    """

    expected_version: int
    job: Job
    added_runs: tuple[StoredRun, ...] = ()
    is_blind: bool = False


class ChunkChange(Struct, frozen=True, gc=False):
    """A conditional write of one chunk: valid only while its stored version is `expected_version`."""

    key: JobKey
    expected_version: int
    block: Block
    added_runs: tuple[StoredRun, ...]


def new_job(profile: JobProfile) -> StoredJob:
    """A job without outcomes that is not stored yet."""
    if is_large(profile.total):
        return StoredJob(Job(profile, 0, 0, EMPTY_TALLY, (EMPTY_TALLY,) * chunk_count(profile.total)), None)
    return StoredJob(Job(profile, 0, 0, EMPTY_TALLY), empty_block(0, 0, profile.total))


def apply_update(stored: StoredJob, update: JobUpdate) -> JobChange | None:
    """The change that applies the update to a small job; None if the job contains it already."""
    job, block = stored.job, stored.block
    if block is None:
        raise ValueError("a large job is updated chunk by chunk")
    merged, added = merge_runs(block, clip_runs(update.runs, job.profile.total), job.profile)
    if not added and job.version:
        return None
    return JobChange(job.version, _next_version(job, build_tally(merged), ()), added)


def apply_update_blind(profile: JobProfile, update: JobUpdate) -> JobChange | None:
    """The change for a small job that was not read, on the assumption that it has only been opened."""
    opened = Job(profile, 1, 1, new_job(profile).job.tally)
    change = apply_update(StoredJob(opened, empty_block(0, 0, profile.total)), update)
    return None if change is None else replace(change, is_blind=True)


def publish_chunks(job: Job, blocks: Sequence[Block]) -> JobChange | None:
    """The change that publishes stored chunks in their job; None if the job contains them already."""
    tallies = job.chunk_tallies
    newer = {block.number: build_tally(block) for block in blocks if block.version > tallies[block.number].version}
    if not newer and job.version:
        return None
    merged = tuple(newer.get(number, tally) for number, tally in enumerate(tallies))
    return JobChange(job.version, _next_version(job, _sum_tallies(merged), merged))


def _next_version(job: Job, tally: Tally, chunk_tallies: tuple[Tally, ...]) -> Job:
    version = job.version + 1
    is_visible = not job.version or replace(tally, version=0) != replace(job.tally, version=0)
    return Job(job.profile, version, version if is_visible else job.shown_version, tally, chunk_tallies)


def _sum_tallies(chunks: Sequence[Tally]) -> Tally:
    """The tally of a job from those of its chunks; its prefix ends in the first incomplete chunk."""
    shown = list(_leading_chunks(chunks))
    return Tally(
        succeeded=sum(chunk.succeeded for chunk in chunks),
        failed=sum(chunk.failed for chunk in chunks),
        unprocessed=sum(chunk.unprocessed for chunk in chunks),
        prefix=sum(chunk.prefix for chunk in shown),
        prefix_succeeded=sum(chunk.prefix_succeeded for chunk in shown),
        prefix_unprocessed=sum(chunk.prefix_unprocessed for chunk in shown),
        warnings=sum(chunk.warnings for chunk in shown),
        errors=sum(chunk.errors for chunk in shown),
        last_us=max(chunk.last_us for chunk in chunks),
    )


def _leading_chunks(chunks: Sequence[Tally]) -> Iterator[Tally]:
    """The chunks up to, and with, the first that may be incomplete."""
    for chunk in chunks:
        yield chunk
        if chunk.prefix < CHUNK_SIZE:
            return
