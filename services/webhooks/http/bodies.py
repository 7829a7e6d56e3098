"""Request bodies of the endpoints' API: read within bounds, and checked field by field."""

from collections.abc import Mapping
from datetime import UTC, tzinfo
from typing import Any

from aiohttp import web
from msgspec import UNSET, Struct, UnsetType

from services.chassis.http.request_body import read_bounded, require_content_length, require_json
from services.chassis.http.time_range import parse_day
from services.chassis.runtime.errors import BodyFault, Problem
from services.values.identifiers import validate_text
from services.values.instants import parse_instant, start_of_day_us
from services.values.invalid import Invalid
from services.values.strict_json import JsonSyntaxError, parse
from services.webhooks.domain.endpoint import MAX_OVERLAP_S
from services.webhooks.domain.target_url import describe_invalid_url
from services.webhooks.http.params import EVENT_TYPES

MAX_BODY_BYTES = 16 * 1024
MAX_DESCRIPTION_LENGTH = 256
DEFAULT_OVERLAP_S = MAX_OVERLAP_S


class EndpointFields(Struct, frozen=True, kw_only=True):
    """Fields of an endpoint that a body has."""

    url: str | UnsetType = UNSET
    types: tuple[str, ...] | UnsetType = UNSET
    description: str | UnsetType = UNSET
    ordered: bool | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET

    def present(self) -> dict[str, Any]:
        """The fields that the body has."""
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        return {name: value for name, value in values.items() if value is not UNSET}


class ReplayRequest(Struct, frozen=True, kw_only=True):
    """What to send again: one event, or everything or what failed since an instant."""

    event_id: str | None = None
    since_us: int | None = None
    only_failed: bool = False


async def read_object(request: web.Request, *, timeout_s: float, may_be_empty: bool = False) -> dict[str, Any]:
    """Return the JSON object in the body; raises a 400, 408, 413 or 415."""
    require_json(request)
    require_content_length(request, max_bytes=MAX_BODY_BYTES)
    body = await read_bounded(request, max_bytes=MAX_BODY_BYTES, timeout_s=timeout_s)
    if may_be_empty and not body:
        return {}
    try:
        # Those in a field are the fault of the field; those in a field that is not known are ignored with it.
        value = parse(body, keep_surrogates=True)
    except JsonSyntaxError as error:
        raise Problem(400, "MALFORMED_JSON", f"the body is not JSON: {error.reason} (byte {error.offset})") from None
    if not isinstance(value, dict):
        raise Problem(400, "INVALID_TYPE", "the body must be a JSON object")
    return value


def parse_endpoint(body: Mapping[str, Any], *, allow_loopback: bool, is_new: bool) -> EndpointFields:
    """The fields of an endpoint; raises a 422 with all faults. Unknown fields are ignored.

    Null and the empty string count as absent. Only as a description the empty string is a value: it removes the text.
    """
    body = {name: value for name, value in body.items() if _is_given(value) or (name == "description" and value == "")}
    faults: list[BodyFault] = []
    if is_new and "url" not in body:
        faults.append(BodyFault("/url", "MISSING_URL", "url is required"))
    checks = {
        "url": lambda value: _describe_url(value, allow_loopback=allow_loopback),
        "types": _describe_types,
        "description": _describe_description,
        "ordered": _describe_boolean,
        "enabled": _describe_boolean,
    }
    for name, check in checks.items():
        fault = check(body[name]) if name in body else None
        if fault is not None:
            faults.append(BodyFault(f"/{name}", f"INVALID_{name.upper()}", f"{name} {fault}"))
    if faults:
        raise unprocessable(faults)
    values = {name: body[name] for name in checks if name in body}
    if "types" in values:
        values["types"] = tuple(sorted(set(values["types"])))
    return EndpointFields(**values)


def _is_given(value: object) -> bool:
    return value is not None and value != ""


def _describe_url(value: object, *, allow_loopback: bool) -> str | None:
    return describe_invalid_url(value, allow_loopback=allow_loopback) if isinstance(value, str) else "must be a string"


def _describe_types(value: object) -> str | None:
    if not isinstance(value, list) or not all(isinstance(each, str) and each in EVENT_TYPES for each in value):
        return f"must be an array of {', '.join(EVENT_TYPES)}; an empty one means all"
    return None


def _describe_description(value: object) -> str | None:
    if not isinstance(value, str):
        return "must be a string"
    invalid = validate_text(value, max_length=MAX_DESCRIPTION_LENGTH)
    return None if invalid is None else invalid.phrase


def _describe_boolean(value: object) -> str | None:
    return None if isinstance(value, bool) else "must be true or false"


def parse_overlap(body: Mapping[str, Any]) -> int:
    """The seconds for which the secrets before still sign; raises a 422."""
    value = body.get("overlap")
    if not _is_given(value):
        return DEFAULT_OVERLAP_S
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_OVERLAP_S:
        detail = f"overlap must be an integer from 0 to {MAX_OVERLAP_S} seconds"
        raise unprocessable([BodyFault("/overlap", "INVALID_OVERLAP", detail)])
    return value


def parse_replay(body: Mapping[str, Any], *, zone: tzinfo) -> ReplayRequest:
    """What to send again; raises a 422 unless the body has exactly one of the three fields.

    A day begins in `zone`.
    """
    given = [name for name in ("eventId", "since", "failedSince") if _is_given(body.get(name))]
    if len(given) != 1:
        raise unprocessable([BodyFault("", "INVALID_REPLAY", "send one of eventId, since and failedSince")])
    (name,) = given
    if name == "eventId":
        if not isinstance(body[name], str) or validate_text(body[name], max_length=MAX_DESCRIPTION_LENGTH) is not None:
            raise unprocessable([BodyFault("/eventId", "INVALID_EVENT_ID", "eventId must be the id of an event")])
        return ReplayRequest(event_id=body[name].lower())
    day = parse_day(body[name]) if isinstance(body[name], str) else None
    instant = parse_instant(body[name], zone=UTC)
    if day is not None:
        since_us = start_of_day_us(day, zone)
    elif isinstance(instant, Invalid):
        raise unprocessable([BodyFault(f"/{name}", "INVALID_DATE", f"{name} {instant.phrase}")])
    else:
        since_us = instant.us
    return ReplayRequest(since_us=since_us, only_failed=name == "failedSince")


def unprocessable(faults: list[BodyFault]) -> Problem:
    """Return a 422 with all faults; its code is that of the first."""
    return Problem(422, faults[0].code, faults[0].detail, errors=faults)
