"""Logs: one JSON object a line, from our code and from libraries; user input never breaks a line or fills a page."""

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.runtime.logs import MAX_VALUE_LENGTH, configure, escape_for_log, logger

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    """What was logged; logging is put back afterwards."""
    stdout = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stdout)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    kept = structlog.get_config()
    configure("till", "INFO")
    yield lambda: [json.loads(line) for line in stdout.getvalue().splitlines()]
    structlog.configure(**kept)
    root.handlers[:] = handlers
    root.setLevel(level)


def fail(error: Exception) -> NoReturn:
    raise error


def test_a_line_is_a_json_object_that_says_when_who_and_what(lines: Lines) -> None:
    logger("services.x").info("began", port=1)
    (line,) = lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {"message": "began", "level": "info", "logger": "services.x", "service": "till", "port": 1}


def test_what_is_below_the_level_is_not_logged(lines: Lines) -> None:
    logger("services.x").debug("noise")
    assert lines() == []


def test_what_is_bound_is_in_each_line(lines: Lines) -> None:
    with structlog.contextvars.bound_contextvars(requestId="r1", jobId="j1"):
        logger("services.x").info("one")
        logging.getLogger("third.party").warning("two")
    logger("services.x").info("three")
    assert [line.get("requestId") for line in lines()] == ["r1", "r1", None]


def test_third_parties_speak_json_too(lines: Lines) -> None:
    logging.getLogger("third.party").warning("%d things\nin two lines", 3)
    (line,) = lines()
    assert line["message"] == "3 things\nin two lines"
    assert (line["level"], line["logger"], line["service"]) == ("warning", "third.party", "till")


def test_a_third_partys_exception_is_in_its_line(lines: Lines) -> None:
    try:
        fail(OSError("gone"))
    except OSError:
        logging.getLogger("third.party").exception("failed")
    (line,) = lines()
    assert line["exception"].endswith("OSError: gone")


def test_harmless_noise_of_the_clients_is_not_logged(lines: Lines) -> None:
    logging.getLogger("aiokafka.consumer.group_coordinator").error("Group Coordinator Request failed")
    logging.getLogger("pymongo.command").info("command")
    assert lines() == []


def test_an_exception_tells_where_it_happened(lines: Lines) -> None:
    try:
        json.loads("{")
    except ValueError:
        logger("services.x").exception("failed")
    (line,) = lines()
    assert line["level"] == "error"
    assert "test_logs.py" in line["exception"]
    assert "JSONDecodeError" in line["exception"]


def test_an_exception_that_quotes_a_whole_body_is_cut(lines: Lines) -> None:
    try:
        fail(ValueError("a" * 100_000 + "\n" + "canary " * 100_000))
    except ValueError:
        logger("services.x").exception("failed")
    (line,) = lines()
    assert len(line["exception"]) < 70 * MAX_VALUE_LENGTH
    assert max(map(len, line["exception"].splitlines())) <= MAX_VALUE_LENGTH


def test_what_is_no_json_is_logged_all_the_same(lines: Lines) -> None:
    logger("services.x").info("odd", raw=b"\xff", error=ValueError("x"), text="\ud800 \u2028 é")
    (line,) = lines()
    assert line["raw"] == repr(b"\xff")


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        ("plain", "plain"),
        ("", ""),
        ("two\nlines\r\x1b[31m", "two\\nlines\\r\\x1b[31m"),
        ("é \u2028 😀", "\\xe9 \\u2028 \\U0001f600"),
        ("\ud800", "\\ud800"),
        ("back\\slash", "back\\\\slash"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 197 + "..."),
        ("😀" * 200, ("\\U0001f600" * 20)[:197] + "..."),
    ],
)
def test_user_text_is_escaped_and_cut(sent: str, seen: str) -> None:
    assert escape_for_log(sent) == seen


@given(st.text())
def test_user_text_is_one_short_printable_line(sent: str) -> None:
    seen = escape_for_log(sent)
    assert len(seen) <= MAX_VALUE_LENGTH
    assert seen.isascii()
    assert seen.isprintable()
