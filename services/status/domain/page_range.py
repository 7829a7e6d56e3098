"""Positions in a job's events, which never shift, and the ranges of them that pages cover."""

from typing import NamedTuple

from msgspec import Struct

from services.status.domain.job import Job


class Position(NamedTuple):
    """The position of an event; the SUMMARY event comes after the last record."""

    record_index: int
    fault_index: int


FIRST_POSITION = Position(0, 0)


def end_position(job: Job) -> Position:
    """The first position whose event is not known yet."""
    if job.is_terminal:
        return Position(job.profile.total, 1)
    return Position(job.tally.prefix, 0)


class PageRange(Struct, frozen=True, gc=False):
    """The events that a reader has yet to read, from `start` up to, not including, `end`; None is the job's end.

    Reading forwards, `start` moves up and `end` stays open. Reading backwards, `end` moves down to `start`; then a new
    range begins at `next_start`, where the last one had begun, for the events that became known meanwhile.
    """

    start: Position
    end: Position | None = None
    next_start: Position | None = None


class ResolvedRange(NamedTuple):
    """A range whose ends are both known."""

    start: Position
    end: Position


def resolve_range(page_range: PageRange, job: Job) -> ResolvedRange:
    """The positions that the range covers in the job's present state."""
    end = end_position(job)
    return ResolvedRange(page_range.start, end if page_range.end is None else min(page_range.end, end))


def next_page_range(
    page_range: PageRange, job: Job, *, next_position: Position | None, descending: bool
) -> PageRange | None:
    """The range after a page; `next_position` is that of the first event that did not fit on the page.

    None only after the last event of an ended job.
    """
    end = end_position(job)
    if not descending:
        if next_position is not None:
            return PageRange(next_position)
        return None if job.is_terminal else PageRange(max(page_range.start, end))
    next_start = page_range.next_start or resolve_range(page_range, job).end
    if next_position is not None:
        return PageRange(
            page_range.start, Position(next_position.record_index, next_position.fault_index + 1), next_start
        )
    return None if job.is_terminal and next_start >= end else PageRange(max(next_start, page_range.start))
