"""Midnights, in every zone and year."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.fulfilment.domain.business_day import business_date, end_us, has_ended, next_day
from tests.fulfilment.harness import local_time_us

ZONES = sorted(available_timezones())
HOUR_US = 3_600_000_000


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("UTC", "2026-03-04", 24),
        ("Asia/Tokyo", "2026-03-04", 24),
        ("America/New_York", "2026-03-08", 23),  # clocks go forward
        ("America/New_York", "2026-11-01", 25),  # and back
        ("Asia/Kolkata", "2024-02-29", 24),  # leap day
        ("Asia/Beirut", "2026-03-28", 24),
        ("Asia/Beirut", "2026-03-29", 23),  # the gap is at midnight
        ("America/Sao_Paulo", "2018-11-03", 24),
        ("America/Sao_Paulo", "2018-11-04", 23),  # has no 00:00
        ("Australia/Lord_Howe", "2026-04-05", 24.5),
        ("Pacific/Apia", "2011-12-29", 24),  # the day after was left out
    ],
)
def test_days_have_their_hours(zone: str, day: str, hours: float) -> None:
    there = ZoneInfo(zone)
    today = date.fromisoformat(day)
    assert end_us(today, there) - end_us(today - timedelta(days=1), there) == hours * HOUR_US


@pytest.mark.parametrize(
    ("zone", "utc", "day"),
    [
        ("Asia/Tokyo", "2026-03-04T14:59:59.999999", "2026-03-04"),
        ("Asia/Tokyo", "2026-03-04T15:00:00", "2026-03-05"),
        ("America/New_York", "2026-03-09T03:59:59.999999", "2026-03-08"),
        ("America/New_York", "2026-03-09T04:00:00", "2026-03-09"),
        ("America/New_York", "2026-11-02T04:59:59.999999", "2026-11-01"),
        ("America/New_York", "2026-11-02T05:00:00", "2026-11-02"),
        ("UTC", "2024-02-29T23:59:59.999999", "2024-02-29"),
        ("UTC", "2024-03-01T00:00:00", "2024-03-01"),
    ],
)
def test_the_day_it_is(zone: str, utc: str, day: str) -> None:
    assert business_date(local_time_us(utc), ZoneInfo(zone)).isoformat() == day


@given(
    zone=st.sampled_from(ZONES),
    instant=st.datetimes(datetime(1975, 1, 1), datetime(2037, 12, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_a_day_ends_where_the_next_begins(zone: str, instant: datetime) -> None:
    there = ZoneInfo(zone)
    now_us = (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    today = business_date(now_us, there)
    end = end_us(today, there)
    assert now_us < end
    assert business_date(end - 1, there) <= today
    assert business_date(end, there) >= next_day(today)
    assert not has_ended(today, end - 1, there)
    assert has_ended(today, end, there)
