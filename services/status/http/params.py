"""Parameters from a request's query and headers; an invalid one is a 400."""

import re
from collections.abc import Mapping
from typing import TypeVar

from multidict import MultiMapping

from services.chassis.http import paging
from services.chassis.runtime.errors import Problem
from services.status.domain import listing
from services.status.domain.job import JobState
from services.status.domain.page_range import PageRange, Position
from services.status.domain.summary import DEFAULT_ROWS

Query = MultiMapping[str]

MAX_ROWS = 10_000
MAX_WAIT_S = 30

STATES = {state.lower(): state for state in JobState}
TYPES = {name: name for name in listing.TYPES}
MODES = {name: name for name in listing.MODES}
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_WAIT = re.compile(r"\s*wait\s*=\s*\"?([0-9]{1,9})\"?\s*", re.IGNORECASE)
_Choice = TypeVar("_Choice")


def parse_rows(query: Query) -> int:
    """The maximum number of events or records on a page."""
    return paging.rows_from_query(query, default=DEFAULT_ROWS, maximum=MAX_ROWS)


def parse_list_rows(query: Query) -> int:
    """The maximum number of jobs on a page of the list."""
    return paging.rows_from_query(query, default=listing.DEFAULT_ROWS, maximum=MAX_ROWS)


def parse_show_all(query: Query) -> bool:
    """Whether to return all events, not only faults."""
    return parse_choice(query, "showAll", _BOOLEANS, code="INVALID_SHOW_ALL") or False


def parse_descending(query: Query) -> bool:
    """Whether to return the last event first."""
    return parse_choice(query, "order", {"asc": False, "desc": True}) or False


def is_paged(query: Query) -> bool:
    """Whether the request has any paging parameter."""
    return any(name in query for name in ("rows", "showAll", *paging.PAGE_PARAMETERS))


def parse_wait(headers: MultiMapping[str]) -> float | None:
    """The seconds that the client prefers to wait (RFC 7240); None without a valid preference."""
    for preference in re.split("[,;]", ",".join(headers.getall("Prefer", ()))):
        match = _WAIT.fullmatch(preference)
        if match:
            return float(min(int(match[1]), MAX_WAIT_S))
    return None


def parse_choice(
    query: Query, name: str, choices: Mapping[str, _Choice], *, code: str = "", is_required: bool = False
) -> _Choice | None:
    """The value of a parameter that names one of the choices, in any case; None if it is not given."""
    text = query.get(name)
    if text is None and not is_required:
        return None
    try:
        return choices[(text or "").lower()]
    except KeyError:
        raise Problem(400, code or f"INVALID_{name.upper()}", f"{name} is one of {', '.join(choices)}") from None


def decode_range(tokens: paging.PageTokenCodec, scope: paging.TokenScope, token: str) -> PageRange:
    """The range that a page token continues with; raises a 400 for a token of another scope."""
    positions = [None if part is None else Position(*part) for part in tokens.decode(scope, token, parts=3)]
    if positions[0] is None:
        raise paging.invalid_page_token()
    return PageRange(positions[0], *positions[1:])
