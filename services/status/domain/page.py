"""One page of a job's events or records: which chunks it needs, and what is left after it."""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from services.status.domain.block import Block
from services.status.domain.chunks import SIZE, Tally
from services.status.domain.cursor import Lap, Position, Span, end_of, lap_after, span_of
from services.status.domain.facts import FAILED, SUCCEEDED, UNPROCESSED
from services.status.domain.job import Job
from services.status.domain.records import records_in
from services.status.domain.timeline import Placed, Whole, events_in, summary_event, whole_of


class Wish(Struct, frozen=True, gc=False):
    """What a reader asks for: a number of events, of which kind, in which direction, from where on."""

    rows: int
    show_all: bool = False
    descending: bool = False
    lap: Lap = Lap(Position(0, 0))


class Page(Struct, frozen=True, gc=False):
    """Events or records as JSON texts, and where the next page begins; None if nothing will ever follow.

    A text may hold several events, joined as elements of a JSON array; `count` says how many there are in all.
    """

    texts: Sequence[str]
    count: int
    rest: Lap | None


def chunks_for_events(job: Job, wish: Wish) -> list[int]:
    """The numbers of the chunks that the page is made from; none too many, wherever the page is."""
    span = span_of(wish.lap, job)
    # Of the record at the upper end, earlier faults may belong to the span.
    numbers = _numbers(span.low.record, span.high.record + 1, job)
    weights = ((number, _events(job.chunks[number], show_all=wish.show_all)) for number in numbers)
    return _enough(reversed(list(weights)) if wish.descending else weights, wish.rows)


def events_page(job: Job, blocks: Sequence[Block], wish: Wish) -> Page:
    """The page, made from the blocks that it needs."""
    span = span_of(wish.lap, job)
    shown = Span(span.low, min(span.high, Position(job.whole.prefix, 0)))
    sheet, last = _Sheet(wish.rows), _summary(job, wish, span)
    if wish.descending:
        sheet.put(last)
    for block in sorted(blocks, key=lambda block: block.first, reverse=wish.descending):
        if sheet.next_at is not None:
            break
        _put_block(sheet, block, job, wish, shown)
    if not wish.descending:
        sheet.put(last)
    next_at = None if sheet.next_at is None else Position(*sheet.next_at)
    return Page(sheet.texts, sheet.count, lap_after(wish.lap, job, next_at=next_at, descending=wish.descending))


class _Sheet:
    """A page while it fills. `next_at` is the position of the first event that found no room."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self.texts: list[str] = []
        self.count = 0
        self.next_at: tuple[int, int] | None = None

    def put(self, placed: Sequence[Placed]) -> None:
        """Take these events, as far as there is room."""
        room = self._rows - self.count
        self.texts += [text for _, text in placed[:room]]
        self.count += min(len(placed), room)
        if len(placed) > room and self.next_at is None:
            self.next_at = placed[room][0]

    def put_whole(self, whole: Whole | None) -> bool:
        """Take all these events, if there is room for all."""
        if whole is None or self.count + whole.count > self._rows:
            return False
        self.texts += whole.texts
        self.count += whole.count
        return True


def _put_block(sheet: _Sheet, block: Block, job: Job, wish: Wish, span: Span) -> None:
    # Most blocks of a long page lie on it with all their events: those need not be looked at one by one.
    if not wish.show_all and not wish.descending and sheet.put_whole(whole_of(block, span)):
        return
    placed = events_in(block, job.profile, span, show_all=wish.show_all)
    sheet.put(placed[::-1] if wish.descending else placed)


def _summary(job: Job, wish: Wish, span: Span) -> Sequence[Placed]:
    if not wish.show_all or not job.is_terminal:
        return ()
    summary = summary_event(job)
    return (summary,) if span.low <= summary[0] < span.high else ()


def chunks_for_records(job: Job, letter: str, *, low: int, rows: int) -> list[int]:
    """The numbers of the chunks that a page of records with this outcome is made from."""
    numbers = _numbers(low, job.whole.prefix, job)
    return _enough(((number, _records(job.chunks[number], letter)) for number in numbers), rows)


def count_of_records(job: Job, letter: str) -> int:
    """How many records with this outcome a reader can see."""
    return _records(job.whole, letter)


def records_page(job: Job, blocks: Sequence[Block], letter: str, *, low: int, rows: int) -> Page:
    """The page of records, oldest first."""
    placed = [
        record
        for block in sorted(blocks, key=lambda block: block.first)
        for record in records_in(block, letter, low, job.whole.prefix, of=job.profile.header.type)
    ]
    if len(placed) > rows:
        rest: Lap | None = Lap(Position(placed[rows][0], 0))
    else:
        rest = None if job.is_terminal else Lap(max(Position(low, 0), end_of(job)))
    return Page([text for _, text in placed[:rows]], min(len(placed), rows), rest)


def _numbers(low: int, high: int, job: Job) -> range:
    last = min(high, job.whole.prefix)
    return range(low // SIZE, min((last + SIZE - 1) // SIZE, len(job.chunks)))


def _enough(weights: Iterable[tuple[int, int]], rows: int) -> list[int]:
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


def _events(tally: Tally, *, show_all: bool) -> int:
    return tally.warnings + tally.errors + (tally.prefix_succeeded if show_all else 0)


def _records(tally: Tally, letter: str) -> int:
    failed = tally.prefix - tally.prefix_succeeded - tally.prefix_unprocessed
    return {SUCCEEDED: tally.prefix_succeeded, UNPROCESSED: tally.prefix_unprocessed, FAILED: failed}[letter]
