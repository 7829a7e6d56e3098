"""A request's JSON body, read within bounds of size and time."""

from typing import Any

from aiohttp import web

from services.chassis.http.request_body import read_bounded, require_content_length, require_json
from services.chassis.runtime.errors import BodyFault, Problem
from services.fulfilment.domain.order_request import Fault
from services.values.strict_json import JsonSyntaxError, parse, split_first_value

MAX_BODY_BYTES = 1024 * 1024


async def read_body(request: web.Request, *, timeout_s: float) -> bytes:
    """The bytes; raises `Problem` for whatever is wrong with how they were sent."""
    require_json(request)
    if request.headers.get("Content-Encoding", "").strip().lower() not in ("", "identity"):
        headers = {"Accept-Encoding": "identity"}
        raise Problem(415, "UNSUPPORTED_ENCODING", "send the body as it is, not compressed", headers=headers)
    require_content_length(request, max_bytes=MAX_BODY_BYTES)
    return await read_bounded(request, max_bytes=MAX_BODY_BYTES, timeout_s=timeout_s)


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object in the bytes; raises `Problem`."""
    try:
        split_first_value(body, strict=True)
        read = parse(body)
    except JsonSyntaxError as bad:
        raise Problem(400, "MALFORMED_JSON", f"the body is not JSON: {bad.reason} (byte {bad.offset})") from None
    if not isinstance(read, dict):
        raise Problem(400, "INVALID_TYPE", "the body must be a JSON object")
    return read


def unprocessable(faults: tuple[Fault, ...]) -> Problem:
    """422 with every fault and its pointer; the code is that of the first."""
    errors = [BodyFault(fault.pointer, fault.code, fault.detail) for fault in faults]
    return Problem(422, faults[0].code, faults[0].detail, errors=errors)
