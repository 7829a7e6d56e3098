"""Where a reader is in a job's events: positions are (record index, fault number), and never shift."""

from typing import NamedTuple

from msgspec import Struct

from services.status.domain.job import Job


class Position(NamedTuple):
    """An event's place; the SUMMARY stands after the last record."""

    record_index: int
    fault_index: int


FIRST_POSITION = Position(0, 0)


def end_position(job: Job) -> Position:
    """The first position of which nothing can be said yet."""
    if job.is_terminal:
        return Position(job.profile.total, 1)
    return Position(job.tally.prefix, 0)


class PageRange(Struct, frozen=True, gc=False):
    """What is still to be read: the events from `low` up to, not including, `high`; None is the end as it then is.

    Reading forwards, `low` moves up and `high` stays open. Reading backwards, `high` moves down to `low`; then a new
    lap begins at `top`, where the one before had begun, for what was decided meanwhile.
    """

    start: Position
    end: Position | None = None
    next_start: Position | None = None


class ResolvedRange(NamedTuple):
    """A lap of which both ends are known."""

    start: Position
    end: Position


def resolve_range(page_range: PageRange, job: Job) -> ResolvedRange:
    """The positions that the lap now covers."""
    end = end_position(job)
    high = end if page_range.end is None else min(page_range.end, end)
    return ResolvedRange(page_range.start, high)


def next_page_range(
    page_range: PageRange, job: Job, *, next_position: Position | None, descending: bool
) -> PageRange | None:
    """What remains after a page; `next_at` is the position of the next event that the page had no room for.

    None only at the end of a job that has ended.
    """
    end = end_position(job)
    if not descending:
        if next_position is not None:
            return PageRange(next_position)
        return None if job.is_terminal else PageRange(max(page_range.start, end))
    top = page_range.next_start or resolve_range(page_range, job).end
    if next_position is not None:
        return PageRange(page_range.start, Position(next_position.record_index, next_position.fault_index + 1), top)
    return None if job.is_terminal and top >= end else PageRange(max(top, page_range.start))
