"""Reads filters of dead letters, from queries and from bodies."""

from collections.abc import Mapping
from datetime import UTC
from typing import Any

import msgspec
from aiohttp import web
from multidict import MultiMapping

from services.chassis.http.request_body import read_bounded, require_json
from services.chassis.runtime.errors import Problem
from services.operator.domain.replay import Selection
from services.values.instants import parse_instant
from services.values.invalid import Invalid

MAX_BODY_BYTES = 64 * 1024
BODY_TIMEOUT_S = 10.0
MAX_VALUES = 50
MAX_LENGTH = 256
DEFAULT_LIMIT, MAX_LIMIT = 50, 500
# Of a body: the criteria that have several values.
_LISTS = ("reasons", "topics", "groups")


class _Filter(msgspec.Struct, forbid_unknown_fields=True):
    reasons: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    since: str | None = None
    until: str | None = None


def selection_from_query(query: MultiMapping[str]) -> Selection:
    """Return the filter of `reason`, `topic`, `group` (which may be repeated), `since` and `until`. Raises a 400."""
    lists = {f"{name}s": tuple(query.getall(name, ())) for name in ("reason", "topic", "group")}
    return _to_selection(lists, query.get("since"), query.get("until"), code="INVALID_PARAMETER")


async def read_selection(request: web.Request) -> Selection:
    """Return the filter in a body: a JSON object. Raises a 400, 408, 413 or 415."""
    require_json(request)
    body = await read_bounded(request, max_bytes=MAX_BODY_BYTES, timeout_s=BODY_TIMEOUT_S)
    try:
        found = msgspec.json.decode(body or b"{}", type=_Filter)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem(
            400, "INVALID_BODY", "the body is an object with reasons, topics, groups, since and until"
        ) from error
    return _to_selection({name: getattr(found, name) for name in _LISTS}, found.since, found.until, code="INVALID_BODY")


def parse_limit(query: MultiMapping[str]) -> int:
    """Return the number of entries to show. Raises a 400."""
    text = query.get("limit", str(DEFAULT_LIMIT))
    if not (text.isascii() and text.isdigit() and len(text) < 5 and 1 <= int(text) <= MAX_LIMIT):
        raise Problem(400, "INVALID_PARAMETER", f"limit is a whole number from 1 to {MAX_LIMIT}")
    return int(text)


def _to_selection(
    lists: Mapping[str, tuple[str, ...]], since: str | None, until: str | None, *, code: str
) -> Selection:
    for name, values in lists.items():
        if len(values) > MAX_VALUES or any(not value or len(value) > MAX_LENGTH for value in values):
            raise Problem(400, code, f"{name} has at most {MAX_VALUES} values of 1 to {MAX_LENGTH} characters")
    criteria: dict[str, Any] = dict(lists)
    return Selection(**criteria, since_us=_parse_us(since, "since", code), until_us=_parse_us(until, "until", code))


def _parse_us(text: str | None, name: str, code: str) -> int | None:
    if text is None:
        return None
    # A plus sign that was not percent-encoded is decoded to a space.
    instant = parse_instant(text.replace(" ", "+"), zone=UTC)
    if isinstance(instant, Invalid):
        raise Problem(400, code, f"{name} is a date and time in ISO 8601")
    return instant.us
