"""A job: its profile, how far it is, and the version that every write is conditional on."""

from collections.abc import Iterator, Sequence
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from services.status.domain.block import Block, Entry, absorb, empty_block
from services.status.domain.chunks import NOTHING, SIZE, Tally, clipped, count_of, is_large, tally
from services.status.domain.facts import Key
from services.status.domain.profile import Profile
from services.status.domain.updates import News


class State(StrEnum):
    """How far a job is; the last four are final."""

    RECEIVED = "RECEIVED"
    VALIDATING = "VALIDATING"
    COMPLETED = "COMPLETED"
    COMPLETED_WITH_WARNING = "COMPLETED_WITH_WARNING"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"


OPEN = (State.RECEIVED, State.VALIDATING)


class Job(Struct, frozen=True, gc=False):
    """A job without its entries.

    `version` grows with every write, `shown` is the version of the last write that the events show. `whole` tallies
    the job as one; `chunks` has a tally per chunk of a large job, and is empty for a small one and where nobody asks.
    """

    profile: Profile
    version: int
    shown: int
    whole: Tally
    chunks: tuple[Tally, ...] = ()

    @property
    def key(self) -> Key:
        """Which job it is."""
        return self.profile.key

    @property
    def is_large(self) -> bool:
        """Whether its records are kept in chunks."""
        return bool(self.chunks)

    @property
    def state(self) -> State:
        """What the counts say."""
        whole, decided = self.whole, self.whole.decided
        if decided < self.profile.header.total:
            return State.VALIDATING if decided else State.RECEIVED
        if whole.unprocessed:
            return State.EXPIRED
        if not whole.succeeded:
            return State.FAILED
        return State.COMPLETED_WITH_WARNING if whole.failed else State.COMPLETED

    @property
    def is_terminal(self) -> bool:
        """Whether nothing that the events show will change."""
        return self.whole.decided == self.profile.header.total

    @property
    def last_us(self) -> int:
        """When its latest outcome came to be, by the word of the events; its creation if there is none."""
        return max(self.whole.last_us, self.profile.header.created_us)


class Standing(Struct, frozen=True, gc=False):
    """A job as it is stored; of a small one, its block too. `version` 0 of the job means that nothing is stored."""

    job: Job
    block: Block | None


class Change(Struct, frozen=True, gc=False):
    """A write: valid only if the stored version is `expected` (0: nothing stored yet). `added` are new entries.

    A blind one was computed without reading: it is valid only if the job was opened with this very profile and
    nothing else has happened to it.
    """

    expected: int
    job: Job
    added: tuple[Entry, ...] = ()
    is_blind: bool = False


class ChunkChange(Struct, frozen=True, gc=False):
    """A write of one chunk, on the same terms."""

    key: Key
    expected: int
    block: Block
    added: tuple[Entry, ...]


def begun(profile: Profile) -> Standing:
    """A job of which nothing but its profile is known, and nothing is stored."""
    if is_large(profile.total):
        return Standing(Job(profile, 0, 0, NOTHING, (NOTHING,) * count_of(profile.total)), None)
    return Standing(Job(profile, 0, 0, NOTHING), empty_block(0, 0, profile.total))


def advanced(standing: Standing, news: News) -> Change | None:
    """The write that brings the news into a small job; None if it has them already."""
    job, block = standing.job, standing.block
    if block is None:
        raise ValueError("a large job advances chunk by chunk")
    grown, added = absorb(block, clipped(news.runs, job.profile.total), job.profile)
    if not added and job.version:
        return None
    return Change(job.version, _moved(job, tally(grown), ()), added)


def guessed(profile: Profile, news: News) -> Change | None:
    """The write that brings the news into a small job if it was just opened, which was not looked up."""
    opened = begun(profile).job
    untouched = Job(profile, 1, 1, opened.whole)
    change = advanced(Standing(untouched, empty_block(0, 0, profile.total)), news)
    return None if change is None else replace(change, is_blind=True)


def published(job: Job, blocks: Sequence[Block]) -> Change | None:
    """The write that publishes chunks, which must be stored; None if the job has them already."""
    newer = {block.number: tally(block) for block in blocks if block.version > job.chunks[block.number].version}
    if not newer and job.version:
        return None
    chunks = tuple(newer.get(number, before) for number, before in enumerate(job.chunks))
    return Change(job.version, _moved(job, _together(chunks), chunks))


def _moved(job: Job, whole: Tally, chunks: tuple[Tally, ...]) -> Job:
    version = job.version + 1
    is_seen = not job.version or replace(whole, version=0) != replace(job.whole, version=0)
    return Job(job.profile, version, version if is_seen else job.shown, whole, chunks)


def _together(chunks: Sequence[Tally]) -> Tally:
    """The tally of a job from those of its chunks: its prefix ends in the first chunk that is not complete."""
    shown = list(_leading(chunks))
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


def _leading(chunks: Sequence[Tally]) -> Iterator[Tally]:
    """The chunks from the first on, up to and with the first that may not be complete."""
    for chunk in chunks:
        yield chunk
        if chunk.prefix < SIZE:
            return
