"""Where a reader is in a job's events: positions are (record index, fault number), and never shift."""

from typing import NamedTuple

from msgspec import Struct

from services.status.domain.job import Job


class Position(NamedTuple):
    """An event's place; the SUMMARY stands after the last record."""

    record: int
    fault: int


START = Position(0, 0)


def end_of(job: Job) -> Position:
    """The first position of which nothing can be said yet."""
    if job.is_terminal:
        return Position(job.profile.total, 1)
    return Position(job.whole.prefix, 0)


class Lap(Struct, frozen=True, gc=False):
    """What is still to be read: the events from `low` up to, not including, `high`; None is the end as it then is.

    Reading forwards, `low` moves up and `high` stays open. Reading backwards, `high` moves down to `low`; then a new
    lap begins at `top`, where the one before had begun, for what was decided meanwhile.
    """

    low: Position
    high: Position | None = None
    top: Position | None = None


class Span(NamedTuple):
    """A lap of which both ends are known."""

    low: Position
    high: Position


def span_of(lap: Lap, job: Job) -> Span:
    """The positions that the lap now covers."""
    end = end_of(job)
    high = end if lap.high is None else min(lap.high, end)
    return Span(lap.low, high)


def lap_after(lap: Lap, job: Job, *, next_at: Position | None, descending: bool) -> Lap | None:
    """What remains after a page; `next_at` is the position of the next event that the page had no room for.

    None only at the end of a job that has ended.
    """
    end = end_of(job)
    if not descending:
        if next_at is not None:
            return Lap(next_at)
        return None if job.is_terminal else Lap(max(lap.low, end))
    top = lap.top or span_of(lap, job).high
    if next_at is not None:
        return Lap(lap.low, Position(next_at.record, next_at.fault + 1), top)
    return None if job.is_terminal and top >= end else Lap(max(top, lap.low))
