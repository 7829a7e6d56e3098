"""Instants: parses and formats ISO 8601 as microseconds since 1970."""

import re
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import NamedTuple

from services.values.invalid import Invalid, InvalidKind

MICROSECONDS = 1_000_000
MAX_OFFSET_MINUTES = 23 * 60 + 59
_MAX_AHEAD_US = 5 * 60 * MICROSECONDS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = _EPOCH.replace(tzinfo=None)
_ONE = timedelta(microseconds=1)
_MINUTE = timedelta(minutes=1)
_OFFSET = re.compile(r"[+-][0-9]{2}:[0-5][0-9]")
_parse = datetime.fromisoformat
# Years 1 to 9999 in UTC: what the calendars of other languages support, too.
MIN_INSTANT_US = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _ONE
MAX_INSTANT_US = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _ONE

# Calendar dates, extended or basic; fractional seconds of any length; an optional offset.
_SHAPE = re.compile(
    r"(?:[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?"
    r"|[0-9]{8}T[0-9]{4}(?:[0-9]{2}(?:[.,][0-9]+)?)?)"
    r"(?:Z|[+-][0-9]{2}(?::?[0-5][0-9])?)?"
)
_MAX_TEXT_LENGTH = 64
_MAX_FAST_LENGTH = 25
_INVALID = Invalid(InvalidKind.DATE, "must be an ISO 8601 date and time such as 2007-04-25T14:30:00+09:00")


class Instant(NamedTuple):
    """A point in time with its stated offset from UTC; `is_assumed` if the text had no offset."""

    us: int
    offset_minutes: int
    is_assumed: bool


def parse_instant(value: object, *, zone: tzinfo) -> Instant | Invalid:
    """Parse a date and time in ISO 8601, in `zone` if it has no offset; digits beyond microseconds are truncated.

    An instant in the year 10000 in UTC becomes the last one of 9999.
    """
    if not isinstance(value, str):
        return _INVALID.but_found(value)
    if len(value) > _MAX_TEXT_LENGTH or not _SHAPE.fullmatch(value):
        return _INVALID
    try:
        local = datetime.fromisoformat(value)
        offset = local.utcoffset()
        is_assumed = offset is None
        if offset is None:
            # An ambiguous time is the first of the two; a skipped one has the offset before the gap.
            offset = local.replace(tzinfo=zone).utcoffset() or timedelta()
    except (ValueError, OverflowError):
        return _INVALID
    us = (local.replace(tzinfo=UTC) - _EPOCH - offset) // _ONE
    if us < MIN_INSTANT_US:
        return Invalid(InvalidKind.DATE, "is before the year 1 in UTC")
    return Instant(min(us, MAX_INSTANT_US), offset // _MINUTE, is_assumed)


def parse_instant_fast(text: str) -> tuple[int, int] | None:
    """Return microseconds and offset of a text like 2007-04-25T14:30:00+09:00 or …Z; None: use `parse_instant`."""
    # The length is checked first: offsets are cached.
    offset = _parse_offset_fast(text[19:]) if len(text) <= _MAX_FAST_LENGTH else None
    if offset is None or text[10] != "T" or text[13] != ":" or text[16] != ":" or text[5] == "W":
        return None
    try:
        since = _parse(text[:19]) - _NAIVE_EPOCH
    except (ValueError, TypeError):
        return None
    us = (since.days * 86_400 + since.seconds - offset * 60) * MICROSECONDS
    return (us, offset) if MIN_INSTANT_US <= us <= MAX_INSTANT_US else None


@lru_cache(maxsize=512)
def _parse_offset_fast(text: str) -> int | None:
    if text == "Z":
        return 0
    if not _OFFSET.fullmatch(text):
        return None
    minutes = int(text[1:3]) * 60 + int(text[4:6])
    return None if minutes > MAX_OFFSET_MINUTES else -minutes if text[0] == "-" else minutes


def latest_valid_us(now_us: int) -> int:
    """Return the latest instant that may be stated now, by a clock that may be a little ahead."""
    return now_us + _MAX_AHEAD_US


def start_of_day_us(day: date, zone: tzinfo) -> int:
    """Return the first instant of a day in the zone."""
    # A midnight that the clocks skip is read with the offset before the gap: the instant of the gap itself.
    midnight = datetime.combine(day, time(), tzinfo=zone)
    return (midnight.astimezone(UTC) - _EPOCH) // _ONE


def format_utc(us: int, *, digits: int) -> str:
    """Format `us` in UTC with a `Z` and 3 to 9 fraction digits."""
    seconds, fraction = divmod(us, MICROSECONDS)
    return f"{_second_text(seconds)}.{f'{fraction:06d}000'[:digits]}Z"


@lru_cache(maxsize=4096)
def _second_text(seconds: int) -> str:
    """Format a second; cached, since the records of a job, and the jobs of a list, share seconds."""
    return (_NAIVE_EPOCH + timedelta(seconds=seconds)).isoformat()


def format_local(us: int, *, offset_minutes: int) -> str:
    """Format `us` as it was stated: local time and offset, with as many fraction digits as needed.

    The result is in UTC if the offset is invalid, or if the local time is outside the calendar.
    """
    moment = _EPOCH + timedelta(microseconds=us)
    with suppress(ValueError, OverflowError):
        moment = moment.astimezone(timezone(timedelta(minutes=offset_minutes)))
    text = moment.replace(microsecond=0).isoformat()
    if moment.microsecond:
        fraction = f"{moment.microsecond:06d}".rstrip("0")
        text = f"{text[:19]}.{fraction}{text[19:]}"
    return text
