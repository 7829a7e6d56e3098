from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.values.instants import (
    MAX_INSTANT_US,
    MIN_INSTANT_US,
    Instant,
    format_local,
    format_utc,
    parse_instant,
    parse_instant_fast,
)
from services.values.invalid import Invalid, InvalidKind

BERLIN = ZoneInfo("Europe/Berlin")
MOMENTS = st.datetimes(
    min_value=datetime(1, 1, 3),  # noqa: DTZ001 - the strategy adds the zone
    max_value=datetime(9999, 12, 29),  # noqa: DTZ001 - the strategy adds the zone
    timezones=st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)


@pytest.mark.parametrize(
    ("text", "us", "offset"),
    [
        ("1970-01-01T00:00:00Z", 0, 0),
        ("1970-01-01T00:00Z", 0, 0),
        ("19700101T000000Z", 0, 0),
        ("19700101T0000+0000", 0, 0),
        ("1970-01-01T01:00:00+01", 0, 60),
        ("1970-01-01T01:30:00+0130", 0, 90),
        ("1969-12-31T23:59:59.5-00:00", -500_000, 0),
        ("1970-01-01T00:00:00,25Z", 250_000, 0),
        ("1970-01-01T00:00:00.1234569Z", 123_456, 0),
        ("0001-01-01T00:00:00Z", MIN_INSTANT_US, 0),
        ("9999-12-31T23:59:59-00:01", MAX_INSTANT_US, -1),
        ("2007-04-25T14:30:00+09:00", 1_177_479_000_000_000, 540),
    ],
)
def test_dates_and_times_in_iso_8601(text: str, us: int, offset: int) -> None:
    assert parse_instant(text, zone=BERLIN) == Instant(us, offset, is_assumed=False)


@pytest.mark.parametrize(
    ("text", "utc", "offset"),
    [
        ("2022-01-01T12:00:00", "2022-01-01T11:00:00.000Z", 60),
        ("2022-07-01T12:00:00", "2022-07-01T10:00:00.000Z", 120),
        ("2022-10-30T02:30:00", "2022-10-30T00:30:00.000Z", 120),
        ("2022-03-27T02:30:00", "2022-03-27T01:30:00.000Z", 60),
    ],
)
def test_a_time_without_offset_is_one_of_the_zone(text: str, utc: str, offset: int) -> None:
    instant = parse_instant(text, zone=BERLIN)
    assert isinstance(instant, Instant)
    assert (format_utc(instant.us, digits=3), instant.offset_minutes, instant.is_assumed) == (utc, offset, True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2022-04-25",
        "2022-04-25 12:21:55Z",
        "2022-04-25t12:21:55z",
        "2022-W17-1T12:21:55Z",
        "2022-04-25T12Z",
        "2022-04-31T12:21:55Z",
        "2022-04-25T12:60:00Z",
        "2022-04-25T12:21:60Z",
        "2022-04-25T24:00:00Z",
        "2022-04-25T12:21:55+24:00",
        "2022-04-25T12:21:55+09:60",
        "2022-04-25T12:21:55+9",
        "2022-04-25T12:21:55Z ",
        " 2022-04-25T12:21:55Z",
        "٢٠٢٢-04-25T12:21:55Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "2022-04-25T12:21:55." + "0" * 60 + "Z",
        1_650_856_915,
        None,
        True,
    ],
)
def test_anything_else_is_no_date(text: object) -> None:
    wrong = parse_instant(text, zone=UTC)
    assert isinstance(wrong, Invalid)
    assert wrong.kind is InvalidKind.DATE


@given(MOMENTS)
def test_what_is_told_is_read_back(moment: datetime) -> None:
    us = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    offset = (moment.utcoffset() or timedelta()) // timedelta(minutes=1)
    assert parse_instant(format_local(us, offset_minutes=offset), zone=UTC) == Instant(us, offset, is_assumed=False)
    assert parse_instant(format_utc(us, digits=9), zone=BERLIN) == Instant(us, 0, is_assumed=False)


@given(MOMENTS.map(lambda moment: moment.replace(microsecond=0).isoformat()) | st.text(max_size=26))
def test_the_usual_way_agrees(text: str) -> None:
    usual = parse_instant_fast(text)
    if usual is not None:
        assert parse_instant(text, zone=BERLIN) == Instant(*usual, is_assumed=False)


@pytest.mark.parametrize("text", ["2022-04-25T12:21:55+09:00", "2022-04-25T12:21:55Z", "2022-04-25T12:21:55-00:30"])
def test_the_usual_forms_are_seen_as_such(text: str) -> None:
    assert parse_instant_fast(text) is not None


@pytest.mark.parametrize(
    "text",
    [
        "2022-W17-1T12:21:55Z",
        "2022-04-25T12:21+01Z",
        "2022-04-25 12:21:55Z",
        "20220425T122155.12Z",
        "2022-04-25T12:21:55+24:00",
    ],
)
def test_the_unusual_is_left_to_the_other(text: str) -> None:
    assert parse_instant_fast(text) is None


def test_fraction_digits() -> None:
    us = 1_685_724_687_481_010
    assert format_utc(us, digits=9) == "2023-06-02T16:51:27.481010000Z"
    assert format_utc(us, digits=3) == "2023-06-02T16:51:27.481Z"
    assert format_utc(0, digits=3) == "1970-01-01T00:00:00.000Z"


def test_what_leaves_the_calendar_is_told_in_utc() -> None:
    assert format_local(MIN_INSTANT_US, offset_minutes=-60) == "0001-01-01T00:00:00+00:00"
    assert format_local(MAX_INSTANT_US, offset_minutes=60).startswith("9999-12-31T23:59:59.999999")
    assert format_local(0, offset_minutes=100_000) == "1970-01-01T00:00:00+00:00"
