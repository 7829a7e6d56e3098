"""One page of a job's events or records: which chunks it needs, and the range that is left after it."""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from services.jobs.events import FAILED, SUCCEEDED
from services.status.domain.block import Block
from services.status.domain.chunks import CHUNK_SIZE, Tally
from services.status.domain.job import Job
from services.status.domain.page_range import (
    FIRST_POSITION,
    PageRange,
    Position,
    ResolvedRange,
    end_position,
    next_page_range,
    resolve_range,
)
from services.status.domain.records import render_records
from services.status.domain.timeline import (
    PositionedEvent,
    StoredBlockEvents,
    render_block_events,
    render_summary_event,
    stored_block_events,
)
from services.status.domain.updates import UNPROCESSED

# What a page holds at most, in bytes: records may be large.
MAX_PAGE_BYTES = 4 * 1024 * 1024


class EventsRequest(Struct, frozen=True, gc=False):
    """What a reader asks for: at most `rows` events of a range, faults only or all, in either direction."""

    rows: int
    show_all: bool = False
    descending: bool = False
    page_range: PageRange = PageRange(FIRST_POSITION)


class Page(Struct, frozen=True, gc=False):
    """Events or records as JSON, and the range of the next page; None if nothing can follow.

    A fragment may hold several events, joined as elements of a JSON array; `count` is their number in all.
    """

    fragments: Sequence[str]
    count: int
    next_range: PageRange | None


def select_event_chunks(job: Job, request: EventsRequest) -> list[int]:
    """The numbers of the chunks that the page is built from: no more than it needs, wherever it starts."""
    resolved = resolve_range(request.page_range, job)
    # Earlier faults of the record at the upper end may belong to the range.
    numbers = _chunk_numbers(resolved.start.record_index, resolved.end.record_index + 1, job)
    counts = ((number, _count_events(job.chunk_tallies[number], show_all=request.show_all)) for number in numbers)
    return _take_enough(reversed(list(counts)) if request.descending else counts, request.rows)


class PageBuilder:
    """A page while it fills, up to `rows` items or `MAX_PAGE_BYTES`, but with one item at least.

    `next_position` is that of the first item that did not fit.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._bytes = 0
        self.fragments: list[str] = []
        self.count = 0
        self.next_position: tuple[int, int] | None = None

    @property
    def is_full(self) -> bool:
        """Whether an item did not fit."""
        return self.next_position is not None

    def add(self, items: Iterable[PositionedEvent]) -> None:
        """Add the items in order until one does not fit."""
        if self.is_full:
            return
        for position, text in items:
            size = _byte_count(text)
            if self.count >= self._rows or (self.count and self._bytes + size > MAX_PAGE_BYTES):
                self.next_position = position
                return
            self.fragments.append(text)
            self.count += 1
            self._bytes += size

    def add_stored(self, stored: StoredBlockEvents | None) -> bool:
        """Add all these events if all fit; returns whether they did."""
        if stored is None or self.is_full or self.count + stored.count > self._rows:
            return False
        size = sum(map(_byte_count, stored.fragments))
        if self._bytes + size > MAX_PAGE_BYTES:
            return False
        self.fragments += stored.fragments
        self.count += stored.count
        self._bytes += size
        return True


class EventsPageBuilder(PageBuilder):
    """A page of events; blocks are added in the direction of reading."""

    def __init__(self, job: Job, request: EventsRequest) -> None:
        super().__init__(request.rows)
        self._job = job
        self._request = request
        resolved = resolve_range(request.page_range, job)
        self._published = ResolvedRange(resolved.start, min(resolved.end, Position(job.tally.prefix, 0)))
        self._summary = _summary_events(job, request, resolved)
        if request.descending:
            self.add(self._summary)

    def add_block(self, block: Block) -> None:
        """Add the block's events."""
        request = self._request
        # Most blocks of a long page are on it with all their events: those are not split into single events.
        if not (request.show_all or request.descending) and self.add_stored(
            stored_block_events(block, self._published)
        ):
            return
        events = render_block_events(block, self._job.profile, self._published, show_all=request.show_all)
        self.add(events[::-1] if request.descending else events)

    def build(self) -> Page:
        """Return the page."""
        request = self._request
        if not request.descending:
            self.add(self._summary)
        next_position = None if self.next_position is None else Position(*self.next_position)
        next_range = next_page_range(
            request.page_range, self._job, next_position=next_position, descending=request.descending
        )
        return Page(self.fragments, self.count, next_range)


def _byte_count(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _summary_events(job: Job, request: EventsRequest, resolved: ResolvedRange) -> Sequence[PositionedEvent]:
    if not request.show_all or not job.is_terminal:
        return ()
    summary = render_summary_event(job)
    return (summary,) if resolved.start <= summary[0] < resolved.end else ()


def select_record_chunks(job: Job, outcome: str, *, first: int, rows: int) -> list[int]:
    """The numbers of the chunks that a page of records with this outcome is built from."""
    numbers = _chunk_numbers(first, job.tally.prefix, job)
    return _take_enough(((number, count_records(job.chunk_tallies[number], outcome)) for number in numbers), rows)


class RecordsPageBuilder(PageBuilder):
    """A page of the records with this outcome from index `first` on; blocks are added in order."""

    def __init__(self, job: Job, outcome: str, *, first: int, rows: int) -> None:
        super().__init__(rows)
        self._job = job
        self._outcome = outcome
        self._first = first

    def add_block(self, block: Block) -> None:
        """Add the block's records."""
        job = self._job
        records = render_records(block, self._outcome, self._first, job.tally.prefix, job_type=job.profile.header.type)
        self.add(((index, 0), text) for index, text in records)

    def build(self) -> Page:
        """Return the page."""
        next_range: PageRange | None = None
        if self.next_position is not None:
            next_range = PageRange(Position(*self.next_position))
        elif not self._job.is_terminal:
            next_range = PageRange(max(Position(self._first, 0), end_position(self._job)))
        return Page(self.fragments, self.count, next_range)


def count_records(tally: Tally, outcome: str) -> int:
    """How many records with this outcome are published."""
    failed = tally.prefix - tally.prefix_succeeded - tally.prefix_unprocessed
    return {SUCCEEDED: tally.prefix_succeeded, UNPROCESSED: tally.prefix_unprocessed, FAILED: failed}[outcome]


def _count_events(tally: Tally, *, show_all: bool) -> int:
    return tally.warnings + tally.errors + (tally.prefix_succeeded if show_all else 0)


def _chunk_numbers(low: int, high: int, job: Job) -> range:
    last = min(high, job.tally.prefix)
    return range(low // CHUNK_SIZE, min((last + CHUNK_SIZE - 1) // CHUNK_SIZE, len(job.chunk_tallies)))


def _take_enough(counts: Iterable[tuple[int, int]], rows: int) -> list[int]:
    """The first chunks that together certainly hold a page and one more event.

    The first one does not count: the page may start anywhere in it.
    """
    taken: list[int] = []
    total = 0
    for number, count in counts:
        if count:
            total += count if taken else 0
            taken.append(number)
            if total > rows:
                break
    return taken
