"""The query parameters `from` and `to`."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from multidict import MultiDict

from services.chassis.http.time_range import parse_day, parse_from_us, parse_to_us
from services.chassis.runtime.errors import Problem

BERLIN = ZoneInfo("Europe/Berlin")


def us(text: str) -> int:
    return round(datetime.fromisoformat(text).astimezone(UTC).timestamp() * 1_000_000)


@pytest.mark.parametrize(
    ("text", "first", "end"),
    [
        ("2026-11-30", "2026-11-30T00:00+01:00", "2026-12-01T00:00+01:00"),
        ("2026-03-29", "2026-03-29T00:00+01:00", "2026-03-30T00:00+02:00"),
        ("2026-10-25", "2026-10-25T00:00+02:00", "2026-10-26T00:00+01:00"),
        ("2026-11-30T08:00:00", "2026-11-30T08:00+01:00", "2026-11-30T08:00+01:00"),
        ("2026-11-30T08:00:00Z", "2026-11-30T08:00+00:00", "2026-11-30T08:00+00:00"),
        ("2026-11-30T08:00:00 02:00", "2026-11-30T08:00+02:00", "2026-11-30T08:00+02:00"),
    ],
)
def test_a_day_begins_and_ends_in_the_zone(text: str, first: str, end: str) -> None:
    assert parse_from_us(MultiDict({"from": text}), BERLIN) == us(first)
    assert parse_to_us(MultiDict({"to": text}), BERLIN) == us(end)


def test_without_parameters_there_are_no_bounds() -> None:
    assert (parse_from_us(MultiDict(), BERLIN), parse_to_us(MultiDict(), BERLIN)) == (None, None)


@pytest.mark.parametrize(
    "text", ["", "yesterday", "20261130", "2026-W49-1", "2026-11-31", "0001-01-01", "9999-12-31", " 2026-11-30"]
)
def test_other_texts_are_refused(text: str) -> None:
    assert parse_day(text) is None
    for parse, name in ((parse_from_us, "from"), (parse_to_us, "to")):
        with pytest.raises(Problem) as refused:
            parse(MultiDict({name: text}), BERLIN)
        assert (refused.value.status, refused.value.code) == (400, "INVALID_DATE")
