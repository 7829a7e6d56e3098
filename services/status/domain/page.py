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


def build_events_page(job: Job, blocks: Sequence[Block], request: EventsRequest) -> Page:
    """Build the page from the blocks that it needs."""
    resolved = resolve_range(request.page_range, job)
    published = ResolvedRange(resolved.start, min(resolved.end, Position(job.tally.prefix, 0)))
    page, summary = _PageBuilder(request.rows), _summary_events(job, request, resolved)
    if request.descending:
        page.add(summary)
    for block in sorted(blocks, key=lambda block: block.first, reverse=request.descending):
        if page.next_position is not None:
            break
        _add_block(page, block, job, request, published)
    if not request.descending:
        page.add(summary)
    next_position = None if page.next_position is None else Position(*page.next_position)
    next_range = next_page_range(request.page_range, job, next_position=next_position, descending=request.descending)
    return Page(page.fragments, page.count, next_range)


class _PageBuilder:
    """A page while it fills. `next_position` is that of the first event that did not fit."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self.fragments: list[str] = []
        self.count = 0
        self.next_position: tuple[int, int] | None = None

    def add(self, events: Sequence[PositionedEvent]) -> None:
        """Add as many of these events as fit."""
        room = self._rows - self.count
        self.fragments += [text for _, text in events[:room]]
        self.count += min(len(events), room)
        if len(events) > room and self.next_position is None:
            self.next_position = events[room][0]

    def add_stored(self, stored: StoredBlockEvents | None) -> bool:
        """Add all these events if all fit; returns whether they did."""
        if stored is None or self.count + stored.count > self._rows:
            return False
        self.fragments += stored.fragments
        self.count += stored.count
        return True


def _add_block(page: _PageBuilder, block: Block, job: Job, request: EventsRequest, published: ResolvedRange) -> None:
    # Most blocks of a long page are on it with all their events: those are not split into single events.
    if not request.show_all and not request.descending and page.add_stored(stored_block_events(block, published)):
        return
    events = render_block_events(block, job.profile, published, show_all=request.show_all)
    page.add(events[::-1] if request.descending else events)


def _summary_events(job: Job, request: EventsRequest, resolved: ResolvedRange) -> Sequence[PositionedEvent]:
    if not request.show_all or not job.is_terminal:
        return ()
    summary = render_summary_event(job)
    return (summary,) if resolved.start <= summary[0] < resolved.end else ()


def select_record_chunks(job: Job, outcome: str, *, first: int, rows: int) -> list[int]:
    """The numbers of the chunks that a page of records with this outcome is built from."""
    numbers = _chunk_numbers(first, job.tally.prefix, job)
    return _take_enough(((number, count_records(job.chunk_tallies[number], outcome)) for number in numbers), rows)


def build_records_page(job: Job, blocks: Sequence[Block], outcome: str, *, first: int, rows: int) -> Page:
    """Build the page of records from index `first` on, oldest first."""
    records = [
        record
        for block in sorted(blocks, key=lambda block: block.first)
        for record in render_records(block, outcome, first, job.tally.prefix, job_type=job.profile.header.type)
    ]
    next_range: PageRange | None = None
    if len(records) > rows:
        next_range = PageRange(Position(records[rows][0], 0))
    elif not job.is_terminal:
        next_range = PageRange(max(Position(first, 0), end_position(job)))
    return Page([text for _, text in records[:rows]], min(len(records), rows), next_range)


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
