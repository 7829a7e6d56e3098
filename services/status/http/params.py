"""What a request asks for, read from its query and headers; what cannot be read is a 400."""

import re
from collections.abc import Mapping
from datetime import UTC
from typing import TypeVar

from multidict import MultiMapping

from services.chassis.http import paging
from services.chassis.runtime.errors import Problem
from services.status.domain.job import JobState
from services.status.domain.listing import DEFAULT_ROWS as LISTED_ROWS
from services.status.domain.listing import MODES, TYPES
from services.status.domain.records import OUTCOMES_BY_NAME
from services.status.domain.summary import DEFAULT_ROWS
from services.values.instants import parse_instant
from services.values.invalid import Invalid

Query = MultiMapping[str]

MAX_ROWS = 10_000
MAX_WAIT_S = 30

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_WAIT = re.compile(r"\s*wait\s*=\s*\"?([0-9]{1,9})\"?\s*", re.IGNORECASE)
_Choice = TypeVar("_Choice")


def parse_rows(query: Query) -> int:
    """How many events or records a page may have."""
    return paging.rows_from_query(query, default=DEFAULT_ROWS, maximum=MAX_ROWS)


def parse_list_rows(query: Query) -> int:
    """How many jobs a page of the list may have."""
    return paging.rows_from_query(query, default=LISTED_ROWS, maximum=MAX_ROWS)


def parse_show_all(query: Query) -> bool:
    """Whether all events are asked for."""
    return _parse_choice(query, "showAll", _BOOLEANS, "INVALID_SHOW_ALL") or False


def parse_descending(query: Query) -> bool:
    """Whether the last comes first."""
    return _parse_choice(query, "order", {"asc": False, "desc": True}, "INVALID_ORDER") or False


def is_paged(query: Query) -> bool:
    """Whether the caller speaks of pages."""
    return any(name in query for name in ("rows", "showAll", *paging.PAGE_PARAMETERS))


def parse_outcome(query: Query) -> str:
    """Which records are asked for."""
    chosen = _parse_choice(query, "outcome", {name: name for name in OUTCOMES_BY_NAME}, "INVALID_OUTCOME")
    if chosen is None:
        raise Problem(400, "INVALID_OUTCOME", f"outcome is one of {', '.join(OUTCOMES_BY_NAME)}")
    return chosen


def parse_state(query: Query) -> JobState | None:
    """The state that listed jobs must have."""
    return _parse_choice(query, "state", {state.lower(): state for state in JobState}, "INVALID_STATE")


def parse_type(query: Query) -> str | None:
    """The type that listed jobs must have."""
    return _parse_choice(query, "type", {name: name for name in TYPES}, "INVALID_TYPE")


def parse_mode(query: Query) -> str | None:
    """The mode that listed jobs must have."""
    return _parse_choice(query, "mode", {name: name for name in MODES}, "INVALID_MODE")


def parse_instant_param(query: Query, name: str) -> int | None:
    """A time, in microseconds; without offset it is UTC."""
    given = query.get(name)
    if given is None:
        return None
    # A plus sign that was not percent-encoded has become a space.
    read = parse_instant(given.replace(" ", "+"), zone=UTC)
    if isinstance(read, Invalid):
        raise Problem(400, "INVALID_DATE", f"{name} is a date and time in ISO 8601")
    return read.us


def parse_wait(headers: MultiMapping[str]) -> float | None:
    """How long the caller prefers to wait, in seconds (RFC 7240); None if nothing readable is said."""
    for preference in re.split("[,;]", ",".join(headers.getall("Prefer", ()))):
        match = _WAIT.fullmatch(preference)
        if match:
            return float(min(int(match[1]), MAX_WAIT_S))
    return None


def _parse_choice(query: Query, name: str, choices: Mapping[str, _Choice], code: str) -> _Choice | None:
    given = query.get(name)
    if given is None:
        return None
    try:
        return choices[given.lower()]
    except KeyError:
        raise Problem(400, code, f"{name} is one of {', '.join(choices)}") from None
