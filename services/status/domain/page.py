"""One page of a job's events or records: which chunks it needs, and what is left after it."""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from services.jobs.events import FAILED, SUCCEEDED
from services.status.domain.block import Block
from services.status.domain.chunks import CHUNK_SIZE, Tally
from services.status.domain.cursor import (
    PageRange,
    Position,
    ResolvedRange,
    end_position,
    next_page_range,
    resolve_range,
)
from services.status.domain.job import Job
from services.status.domain.letters import UNPROCESSED
from services.status.domain.records import render_records
from services.status.domain.timeline import (
    PositionedEvent,
    StoredBlockEvents,
    render_block_events,
    render_summary_event,
    stored_block_events,
)


class EventsRequest(Struct, frozen=True, gc=False):
    """What a reader asks for: a number of events, of which kind, in which direction, from where on."""

    rows: int
    show_all: bool = False
    descending: bool = False
    page_range: PageRange = PageRange(Position(0, 0))


class Page(Struct, frozen=True, gc=False):
    """Events or records as JSON texts, and where the next page begins; None if nothing will ever follow.

    A text may hold several events, joined as elements of a JSON array; `count` says how many there are in all.
    """

    fragments: Sequence[str]
    count: int
    next_range: PageRange | None


def select_event_chunks(job: Job, request: EventsRequest) -> list[int]:
    """The numbers of the chunks that the page is made from; none too many, wherever the page is."""
    span = resolve_range(request.page_range, job)
    # Of the record at the upper end, earlier faults may belong to the span.
    numbers = _chunk_numbers(span.start.record_index, span.end.record_index + 1, job)
    weights = ((number, _count_events(job.chunk_tallies[number], show_all=request.show_all)) for number in numbers)
    return _take_enough(reversed(list(weights)) if request.descending else weights, request.rows)


def build_events_page(job: Job, blocks: Sequence[Block], request: EventsRequest) -> Page:
    """The page, made from the blocks that it needs."""
    span = resolve_range(request.page_range, job)
    shown = ResolvedRange(span.start, min(span.end, Position(job.tally.prefix, 0)))
    sheet, last = _PageBuilder(request.rows), _summary_events(job, request, span)
    if request.descending:
        sheet.add(last)
    for block in sorted(blocks, key=lambda block: block.first, reverse=request.descending):
        if sheet.next_position is not None:
            break
        _add_block(sheet, block, job, request, shown)
    if not request.descending:
        sheet.add(last)
    next_at = None if sheet.next_position is None else Position(*sheet.next_position)
    return Page(
        sheet.fragments,
        sheet.count,
        next_page_range(request.page_range, job, next_position=next_at, descending=request.descending),
    )


class _PageBuilder:
    """A page while it fills. `next_at` is the position of the first event that found no room."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self.fragments: list[str] = []
        self.count = 0
        self.next_position: tuple[int, int] | None = None

    def add(self, placed: Sequence[PositionedEvent]) -> None:
        """Take these events, as far as there is room."""
        room = self._rows - self.count
        self.fragments += [text for _, text in placed[:room]]
        self.count += min(len(placed), room)
        if len(placed) > room and self.next_position is None:
            self.next_position = placed[room][0]

    def add_stored(self, whole: StoredBlockEvents | None) -> bool:
        """Take all these events, if there is room for all."""
        if whole is None or self.count + whole.count > self._rows:
            return False
        self.fragments += whole.fragments
        self.count += whole.count
        return True


def _add_block(sheet: _PageBuilder, block: Block, job: Job, wish: EventsRequest, span: ResolvedRange) -> None:
    # Most blocks of a long page lie on it with all their events: those need not be looked at one by one.
    if not wish.show_all and not wish.descending and sheet.add_stored(stored_block_events(block, span)):
        return
    placed = render_block_events(block, job.profile, span, show_all=wish.show_all)
    sheet.add(placed[::-1] if wish.descending else placed)


def _summary_events(job: Job, wish: EventsRequest, span: ResolvedRange) -> Sequence[PositionedEvent]:
    if not wish.show_all or not job.is_terminal:
        return ()
    summary = render_summary_event(job)
    return (summary,) if span.start <= summary[0] < span.end else ()


def select_record_chunks(job: Job, outcome: str, *, first: int, rows: int) -> list[int]:
    """The numbers of the chunks that a page of records with this outcome is made from."""
    numbers = _chunk_numbers(first, job.tally.prefix, job)
    return _take_enough(((number, _count_records(job.chunk_tallies[number], outcome)) for number in numbers), rows)


def count_records(job: Job, outcome: str) -> int:
    """How many records with this outcome a reader can see."""
    return _count_records(job.tally, outcome)


def build_records_page(job: Job, blocks: Sequence[Block], outcome: str, *, first: int, rows: int) -> Page:
    """The page of records, oldest first."""
    placed = [
        record
        for block in sorted(blocks, key=lambda block: block.first)
        for record in render_records(block, outcome, first, job.tally.prefix, job_type=job.profile.header.type)
    ]
    if len(placed) > rows:
        rest: PageRange | None = PageRange(Position(placed[rows][0], 0))
    else:
        rest = None if job.is_terminal else PageRange(max(Position(first, 0), end_position(job)))
    return Page([text for _, text in placed[:rows]], min(len(placed), rows), rest)


def _chunk_numbers(low: int, high: int, job: Job) -> range:
    last = min(high, job.tally.prefix)
    return range(low // CHUNK_SIZE, min((last + CHUNK_SIZE - 1) // CHUNK_SIZE, len(job.chunk_tallies)))


def _take_enough(weights: Iterable[tuple[int, int]], rows: int) -> list[int]:
    """The first chunks that together surely hold a page and one event more.

    Of the very first, all or nothing may lie on the page; so it does not count.
    """
    taken: list[int] = []
    counted = 0
    for number, weight in weights:
        if weight:
            counted += weight if taken else 0
            taken.append(number)
            if counted > rows:
                break
    return taken


def _count_events(tally: Tally, *, show_all: bool) -> int:
    return tally.warnings + tally.errors + (tally.prefix_succeeded if show_all else 0)


def _count_records(tally: Tally, letter: str) -> int:
    failed = tally.prefix - tally.prefix_succeeded - tally.prefix_unprocessed
    return {SUCCEEDED: tally.prefix_succeeded, UNPROCESSED: tally.prefix_unprocessed, FAILED: failed}[letter]
