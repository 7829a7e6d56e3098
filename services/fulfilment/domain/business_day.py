"""A customer's business day: from midnight to midnight in the customer's time zone, whatever its length."""

from datetime import UTC, date, datetime, timedelta, tzinfo

from services.values.instants import start_of_day_us

MICROS_PER_SECOND = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_datetime(at_us: int) -> datetime:
    """Return an instant as a datetime in UTC."""
    return _EPOCH + timedelta(microseconds=at_us)


def business_date(at_us: int, zone: tzinfo) -> date:
    """Return the date of an instant in the zone."""
    return to_datetime(at_us).astimezone(zone).date()


def end_us(day: date, zone: tzinfo) -> int:
    """Return the first instant after the day."""
    return start_of_day_us(next_day(day), zone)


def has_ended(day: date, at_us: int, zone: tzinfo) -> bool:
    """Whether the day is over in the zone."""
    return at_us >= end_us(day, zone)


def next_day(day: date) -> date:
    """Return the following date."""
    return day + timedelta(days=1)
