"""What a list is asked for, read from the query; what cannot be read is a 400."""

from datetime import date, tzinfo

from multidict import MultiMapping

from services.chassis.http import paging
from services.chassis.runtime.errors import Problem
from services.fulfilment.domain.business_day import end_us, start_us
from services.fulfilment.domain.listing import DEFAULT_ROWS, MAX_PAGE_ROWS, MAX_ROWS
from services.values.instants import parse_instant
from services.values.invalid import Invalid

Query = MultiMapping[str]


def rows_from_query(query: Query) -> int:
    """How many rows are asked for."""
    return paging.rows_from_query(query, default=DEFAULT_ROWS, maximum=MAX_ROWS)


def page_rows_from_query(query: Query) -> int:
    """How many rows a page may have: whoever asks for more than that gets more pages."""
    return min(rows_from_query(query), MAX_PAGE_ROWS)


def from_instant(query: Query, zone: tzinfo) -> int | None:
    """The first instant that is wanted: `from`, or the beginning of that day in the zone."""
    day = _day(query.get("from", ""))
    return _instant(query, "from", zone) if day is None else start_us(day, zone)


def to_instant(query: Query, zone: tzinfo) -> int | None:
    """The first instant that is wanted no more: `to`, or the end of that day in the zone."""
    day = _day(query.get("to", ""))
    return _instant(query, "to", zone) if day is None else end_us(day, zone)


def date_from_query(query: Query, name: str) -> str | None:
    """A day, as `2026-01-31`."""
    given = query.get(name)
    if given is None:
        return None
    if _day(given) is None:
        raise Problem(400, "INVALID_DATE", f"{name} is a date such as 2026-01-31")
    return given


def _day(given: str) -> date | None:
    try:
        read = date.fromisoformat(given)
    except ValueError:
        return None
    # In years beyond these a midnight may lie outside of what can be reckoned with.
    return read if read.isoformat() == given and 1 < read.year < 9999 else None


def _instant(query: Query, name: str, zone: tzinfo) -> int | None:
    given = query.get(name)
    if given is None:
        return None
    # A plus sign that was not percent-encoded has become a space.
    read = parse_instant(given.replace(" ", "+"), zone=zone)
    if isinstance(read, Invalid):
        raise Problem(400, "INVALID_DATE", f"{name} is a date, or a date and time, in ISO 8601")
    return read.us
