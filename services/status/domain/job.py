"""A job: its profile, how far it is, and the version that every write is conditional on."""

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
    """How far a job is; the last four are final."""

    RECEIVED = "RECEIVED"
    VALIDATING = "VALIDATING"
    COMPLETED = "COMPLETED"
    COMPLETED_WITH_WARNING = "COMPLETED_WITH_WARNING"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"


OPEN_STATES = (JobState.RECEIVED, JobState.VALIDATING)


class Job(Struct, frozen=True, gc=False):
    """A job without its entries.

    `version` grows with every write, `shown` is the version of the last write that the events show. `whole` tallies
    the job as one; `chunks` has a tally per chunk of a large job, and is empty for a small one and where nobody asks.
    """

    profile: JobProfile
    version: int
    shown_version: int
    tally: Tally
    chunk_tallies: tuple[Tally, ...] = ()

    @property
    def key(self) -> JobKey:
        """Which job it is."""
        return self.profile.key

    @property
    def is_large(self) -> bool:
        """Whether its records are kept in chunks."""
        return bool(self.chunk_tallies)

    @property
    def state(self) -> JobState:
        """What the counts say."""
        whole, decided = self.tally, self.tally.decided_count
        if decided < self.profile.header.total:
            return JobState.VALIDATING if decided else JobState.RECEIVED
        if whole.unprocessed:
            return JobState.EXPIRED
        if not whole.succeeded:
            return JobState.FAILED
        return JobState.COMPLETED_WITH_WARNING if whole.failed else JobState.COMPLETED

    @property
    def is_terminal(self) -> bool:
        """Whether nothing that the events show will change."""
        return self.tally.decided_count == self.profile.header.total

    @property
    def last_us(self) -> int:
        """When its latest outcome came to be, by the word of the events; its creation if there is none."""
        return max(self.tally.last_us, self.profile.header.created_at)


class StoredJob(Struct, frozen=True, gc=False):
    """A job as it is stored; of a small one, its block too. `version` 0 of the job means that nothing is stored."""

    job: Job
    block: Block | None


class JobChange(Struct, frozen=True, gc=False):
    """A write: valid only if the stored version is `expected` (0: nothing stored yet). `added` are new entries.

    A blind one was computed without reading: it is valid only if the job was opened with this very profile and
    nothing else has happened to it.
    """

    expected_version: int
    job: Job
    added_runs: tuple[StoredRun, ...] = ()
    is_blind: bool = False


class ChunkChange(Struct, frozen=True, gc=False):
    """A write of one chunk, on the same terms."""

    key: JobKey
    expected_version: int
    block: Block
    added_runs: tuple[StoredRun, ...]


def new_job(profile: JobProfile) -> StoredJob:
    """A job of which nothing but its profile is known, and nothing is stored."""
    if is_large(profile.total):
        return StoredJob(Job(profile, 0, 0, EMPTY_TALLY, (EMPTY_TALLY,) * chunk_count(profile.total)), None)
    return StoredJob(Job(profile, 0, 0, EMPTY_TALLY), empty_block(0, 0, profile.total))


def apply_update(stored: StoredJob, update: JobUpdate) -> JobChange | None:
    """The write that brings the news into a small job; None if it has them already."""
    job, block = stored.job, stored.block
    if block is None:
        raise ValueError("a large job advances chunk by chunk")
    grown, added = merge_runs(block, clip_runs(update.runs, job.profile.total), job.profile)
    if not added and job.version:
        return None
    return JobChange(job.version, _next_version(job, build_tally(grown), ()), added)


def apply_update_blind(profile: JobProfile, update: JobUpdate) -> JobChange | None:
    """The write that brings the news into a small job if it was just opened, which was not looked up."""
    opened = new_job(profile).job
    untouched = Job(profile, 1, 1, opened.tally)
    change = apply_update(StoredJob(untouched, empty_block(0, 0, profile.total)), update)
    return None if change is None else replace(change, is_blind=True)


def publish_chunks(job: Job, blocks: Sequence[Block]) -> JobChange | None:
    """The write that publishes chunks, which must be stored; None if the job has them already."""
    newer = {
        block.number: build_tally(block) for block in blocks if block.version > job.chunk_tallies[block.number].version
    }
    if not newer and job.version:
        return None
    chunks = tuple(newer.get(number, before) for number, before in enumerate(job.chunk_tallies))
    return JobChange(job.version, _next_version(job, _sum_tallies(chunks), chunks))


def _next_version(job: Job, whole: Tally, chunks: tuple[Tally, ...]) -> Job:
    version = job.version + 1
    is_seen = not job.version or replace(whole, version=0) != replace(job.tally, version=0)
    return Job(job.profile, version, version if is_seen else job.shown_version, whole, chunks)


def _sum_tallies(chunks: Sequence[Tally]) -> Tally:
    """The tally of a job from those of its chunks: its prefix ends in the first chunk that is not complete."""
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
    """The chunks from the first on, up to and with the first that may not be complete."""
    for chunk in chunks:
        yield chunk
        if chunk.prefix < CHUNK_SIZE:
            return
