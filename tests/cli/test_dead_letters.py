"""Selecting dead letters on the command line."""

from datetime import UTC, datetime, timedelta

import pytest
import typer
from typer.testing import CliRunner

from services.__main__ import app
from services.cli import dead_letters
from services.dead_letters.stored_dead_letters import DeadLetterFilter

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("30s", timedelta(seconds=30)),
        ("5m", timedelta(minutes=5)),
        ("2h", timedelta(hours=2)),
        ("3d", timedelta(days=3)),
        ("2026-03-04T11:00", timedelta(hours=1)),
        ("2026-03-04T11:00Z", timedelta(hours=1)),
        ("2026-03-04T20:00+09:00", timedelta(hours=1)),
        ("2026-03-04", timedelta(hours=12)),
    ],
)
def test_a_time_is_a_time_in_utc_or_how_long_ago(monkeypatch: pytest.MonkeyPatch, text: str, ago: timedelta) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert dead_letters._parse_instant_ms(text, NOW) == (NOW - ago).timestamp() * 1000


@pytest.mark.parametrize("text", ["yesterday", "h", "-2h", "2w", "", "²h", "99999999999d"])
def test_what_is_no_time_is_told(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        dead_letters._parse_instant_ms(text, NOW)


def test_each_option_chooses() -> None:
    letter_filter = dead_letters._build_filter(["r"], ["t"], "2026-03-01", "2026-03-02", ["n"])
    assert letter_filter == DeadLetterFilter(
        reasons=frozenset({"r"}),
        topics=frozenset({"t"}),
        names=frozenset({"n"}),
        since_ms=1_772_323_200_000,
        until_ms=1_772_409_600_000,
    )
    assert dead_letters._build_filter(None, None, None, None) == DeadLetterFilter()


def test_all_letters_go_only_where_that_is_said() -> None:
    result = CliRunner().invoke(app, ["dead-letters", "replay", "--dry-run"])
    assert result.exit_code == 2
    assert "select dead letters" in result.output
