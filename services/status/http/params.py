"""Parameters from a request's query and headers; an invalid one is a 400."""

import re
from collections.abc import Mapping
from typing import TypeVar

from multidict import MultiMapping

from services.chassis.http import paging
from services.chassis.runtime.errors import Problem
from services.status.domain.job import JobState
from services.status.domain.listing import DEFAULT_ROWS as DEFAULT_LIST_ROWS
from services.status.domain.listing import MODES, TYPES
from services.status.domain.records import OUTCOMES_BY_NAME
from services.status.domain.summary import DEFAULT_ROWS

Query = MultiMapping[str]

MAX_ROWS = 10_000
MAX_WAIT_S = 30

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_WAIT = re.compile(r"\s*wait\s*=\s*\"?([0-9]{1,9})\"?\s*", re.IGNORECASE)
_Choice = TypeVar("_Choice")


def parse_rows(query: Query) -> int:
    """The maximum number of events or records on a page."""
    return paging.rows_from_query(query, default=DEFAULT_ROWS, maximum=MAX_ROWS)


def parse_list_rows(query: Query) -> int:
    """The maximum number of jobs on a page of the list."""
    return paging.rows_from_query(query, default=DEFAULT_LIST_ROWS, maximum=MAX_ROWS)


def parse_show_all(query: Query) -> bool:
    """Whether to return all events, not only faults."""
    return _parse_choice(query, "showAll", _BOOLEANS, "INVALID_SHOW_ALL") or False


def parse_descending(query: Query) -> bool:
    """Whether to return the last event first."""
    return _parse_choice(query, "order", {"asc": False, "desc": True}, "INVALID_ORDER") or False


def is_paged(query: Query) -> bool:
    """Whether the request has any paging parameter."""
    return any(name in query for name in ("rows", "showAll", *paging.PAGE_PARAMETERS))


def parse_outcome(query: Query) -> str:
    """The outcome of the requested records; required."""
    outcome = _parse_choice(query, "outcome", {name: name for name in OUTCOMES_BY_NAME}, "INVALID_OUTCOME")
    if outcome is None:
        raise Problem(400, "INVALID_OUTCOME", f"outcome is one of {', '.join(OUTCOMES_BY_NAME)}")
    return outcome


def parse_state(query: Query) -> JobState | None:
    """The state of listed jobs."""
    return _parse_choice(query, "state", {state.lower(): state for state in JobState}, "INVALID_STATE")


def parse_type(query: Query) -> str | None:
    """The type of listed jobs."""
    return _parse_choice(query, "type", {name: name for name in TYPES}, "INVALID_TYPE")


def parse_mode(query: Query) -> str | None:
    """The mode of listed jobs."""
    return _parse_choice(query, "mode", {name: name for name in MODES}, "INVALID_MODE")


def parse_wait(headers: MultiMapping[str]) -> float | None:
    """The seconds that the client prefers to wait (RFC 7240); None without a valid preference."""
    for preference in re.split("[,;]", ",".join(headers.getall("Prefer", ()))):
        match = _WAIT.fullmatch(preference)
        if match:
            return float(min(int(match[1]), MAX_WAIT_S))
    return None


def _parse_choice(query: Query, name: str, choices: Mapping[str, _Choice], code: str) -> _Choice | None:
    text = query.get(name)
    if text is None:
        return None
    try:
        return choices[text.lower()]
    except KeyError:
        raise Problem(400, code, f"{name} is one of {', '.join(choices)}") from None
