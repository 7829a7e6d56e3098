"""Requests' bodies, read within bounds of size and time."""

import asyncio

from aiohttp import web

from services.chassis.runtime.errors import Problem

# curl says x-www-form-urlencoded whenever it is not told otherwise.
_JSON_LIKE = frozenset(
    {
        "",
        "application/json",
        "text/json",
        "application/octet-stream",
        "text/plain",
        "application/x-www-form-urlencoded",
    }
)


def require_json(request: web.Request) -> None:
    """Raise a 415 where the body is said to be something that surely is not JSON."""
    for given in request.headers.getall("Content-Type", ()):
        kind = given.partition(";")[0].strip().lower()
        if kind not in _JSON_LIKE and not kind.endswith("+json"):
            raise Problem(415, "UNSUPPORTED_MEDIA_TYPE", "send JSON (Content-Type: application/json)")


def require_content_length(request: web.Request, *, max_bytes: int, hint: str = "") -> None:
    """Raise a 413 where the body is said to have more than `largest` bytes; the hint says what to do about it."""
    if (request.content_length or 0) > max_bytes:
        raise _too_large(max_bytes, hint)


async def read_bounded(request: web.Request, *, max_bytes: int, timeout_s: float, hint: str = "") -> bytes:
    """The bytes as they were sent. Raises a 413 as soon as there are too many, and a 408 when they take too long."""
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.content.iter_any():
                size += len(chunk)
                if size > max_bytes:
                    raise _too_large(max_bytes, hint)
                parts.append(chunk)
    except TimeoutError:
        detail = f"the body was not complete after {timeout_s:g} s"
        raise Problem(408, "BODY_TIMEOUT", detail, headers={"Connection": "close"}) from None
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(largest: int, hint: str) -> Problem:
    return Problem(413, "PAYLOAD_TOO_LARGE", f"at most {largest} bytes may be sent{hint}")
