"""A request's JSON body, read within bounds of size and time."""

import asyncio
from typing import Any

from aiohttp import web

from services.chassis.errors import BodyFault, Problem
from services.fulfilment.domain.ordering import Fault
from services.values.strict_json import Malformed, first_value, parse

LARGEST = 1024 * 1024
# curl says x-www-form-urlencoded whenever it is not told otherwise.
_JSON_LIKE = frozenset(
    {
        "application/json",
        "text/json",
        "text/plain",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
    }
)


async def read_body(request: web.Request, *, timeout_s: float) -> bytes:
    """The bytes; raises `Problem` for whatever is wrong with how they were sent."""
    _check_headers(request)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.content.iter_any():
                size += len(chunk)
                if size > LARGEST:
                    raise _too_large()
                parts.append(chunk)
    except TimeoutError:
        detail = f"the body was not complete after {timeout_s:g} s"
        raise Problem(408, "BODY_TIMEOUT", detail, headers={"Connection": "close"}) from None
    return b"".join(parts)


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object in the bytes; raises `Problem`."""
    try:
        first_value(body, strict=True)
        read = parse(body)
    except Malformed as bad:
        raise Problem(400, "MALFORMED_JSON", f"the body is not JSON: {bad.reason} (byte {bad.offset})") from None
    if not isinstance(read, dict):
        raise Problem(400, "INVALID_TYPE", "the body must be a JSON object")
    return read


def unprocessable(faults: tuple[Fault, ...]) -> Problem:
    """422 with every fault and its pointer; the code is that of the first."""
    errors = [BodyFault(fault.pointer, fault.code, fault.detail) for fault in faults]
    return Problem(422, faults[0].code, faults[0].detail, errors=errors)


def _check_headers(request: web.Request) -> None:
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind and kind not in _JSON_LIKE and not kind.endswith("+json"):
        raise Problem(415, "UNSUPPORTED_MEDIA_TYPE", "send JSON (Content-Type: application/json)")
    if request.headers.get("Content-Encoding", "").strip().lower() not in ("", "identity"):
        headers = {"Accept-Encoding": "identity"}
        raise Problem(415, "UNSUPPORTED_ENCODING", "send the body as it is, not compressed", headers=headers)
    if (request.content_length or 0) > LARGEST:
        raise _too_large()


def _too_large() -> Problem:
    return Problem(413, "PAYLOAD_TOO_LARGE", f"at most {LARGEST} bytes may be sent")
