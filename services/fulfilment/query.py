"""What a list is asked for, read from the query; what cannot be read is a 400."""

from datetime import UTC, date

from multidict import MultiMapping

from services.chassis.errors import Problem
from services.values.instants import read_instant
from services.values.wrong import Wrong

Query = MultiMapping[str]


def instant_of(query: Query, name: str) -> int | None:
    """A time, in microseconds; without offset it is UTC."""
    given = query.get(name)
    if given is None:
        return None
    # A plus sign that was not percent-encoded has become a space.
    read = read_instant(given.replace(" ", "+"), zone=UTC)
    if isinstance(read, Wrong):
        raise Problem(400, "INVALID_DATE", f"{name} is a date and time in ISO 8601")
    return read.us


def day_of(query: Query, name: str) -> str | None:
    """A day, as `2026-01-31`."""
    given = query.get(name)
    if given is None:
        return None
    try:
        read = date.fromisoformat(given).isoformat()
    except ValueError:
        read = ""
    if read != given:
        raise Problem(400, "INVALID_DATE", f"{name} is a date such as 2026-01-31")
    return read
