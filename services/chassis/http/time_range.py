"""Query parameters `from` and `to`: an instant, or a day in the caller's time zone."""

from datetime import date, timedelta, tzinfo

from multidict import MultiMapping

from services.chassis.runtime.errors import Problem
from services.values.instants import parse_instant, start_of_day_us
from services.values.invalid import Invalid


def parse_from_us(query: MultiMapping[str], zone: tzinfo) -> int | None:
    """Return the first included instant: `from`, or the start of that day. Raises a 400."""
    day = parse_day(query.get("from", ""))
    return _parse_instant_us(query, "from", zone) if day is None else start_of_day_us(day, zone)


def parse_to_us(query: MultiMapping[str], zone: tzinfo) -> int | None:
    """Return the first excluded instant: `to`, or the end of that day. Raises a 400."""
    day = parse_day(query.get("to", ""))
    return _parse_instant_us(query, "to", zone) if day is None else start_of_day_us(day + timedelta(days=1), zone)


def parse_day(text: str) -> date | None:
    """Return a date such as `2026-01-31`, None for another text."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    # A midnight of the first or last year may be out of datetime's range in UTC.
    return day if day.isoformat() == text and 1 < day.year < 9999 else None


def _parse_instant_us(query: MultiMapping[str], name: str, zone: tzinfo) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    # A plus sign that was not percent-encoded is decoded to a space.
    instant = parse_instant(text.replace(" ", "+"), zone=zone)
    if isinstance(instant, Invalid):
        raise Problem(400, "INVALID_DATE", f"{name} is a date, or a date and time, in ISO 8601")
    return instant.us
