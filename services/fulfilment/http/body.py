"""Reads JSON request bodies, within bounds of size and time."""

from typing import Any

from aiohttp import web

from services.chassis.http.request_body import read_bounded, require_content_length, require_json
from services.chassis.runtime.errors import BodyFault, Problem
from services.fulfilment.domain.order_request import InvalidRequestError
from services.values.strict_json import JsonSyntaxError, parse

MAX_BODY_BYTES = 1024 * 1024


async def read_body(request: web.Request, *, timeout_s: float) -> bytes:
    """Return the bytes of the body; raises a 408, 413 or 415."""
    require_json(request)
    if request.headers.get("Content-Encoding", "").strip().lower() not in ("", "identity"):
        headers = {"Accept-Encoding": "identity"}
        raise Problem(415, "UNSUPPORTED_ENCODING", "the body must not be compressed", headers=headers)
    require_content_length(request, max_bytes=MAX_BODY_BYTES)
    return await read_bounded(request, max_bytes=MAX_BODY_BYTES, timeout_s=timeout_s)


def parse_object(body: bytes) -> dict[str, Any]:
    """Parse a JSON object; raises a 400. Lone surrogates stay in its strings, for their fields to be refused."""
    try:
        value = parse(body, keep_surrogates=True)
    except JsonSyntaxError as error:
        raise Problem(400, "MALFORMED_JSON", f"the body is not JSON: {error.reason} (byte {error.offset})") from None
    if not isinstance(value, dict):
        raise Problem(400, "INVALID_TYPE", "the body must be a JSON object")
    return value


def unprocessable(error: InvalidRequestError) -> Problem:
    """Return a 422 with all faults; its code is that of the first."""
    faults = error.faults
    errors = [BodyFault(fault.pointer, fault.code, fault.detail) for fault in faults]
    return Problem(422, faults[0].code, faults[0].detail, errors=errors)
