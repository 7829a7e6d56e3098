"""A request's body, read within bounds of size and time (`Content-Type` to gzip, in the order of the checks)."""

import asyncio

from aiohttp import web

from services.chassis.errors import Problem
from services.ingest import metrics
from services.ingest.aside import LARGE, aside
from services.ingest.domain.inflate import LARGEST, LARGEST_WIRE, MAGIC, NotGzip, TooLarge, inflate, is_small

ONLY_GZIP = {"Accept-Encoding": "gzip"}
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


async def read_body(request: web.Request, *, timeout_s: float, require_gzip: bool) -> bytes:
    """The inflated body; raises `Problem` for whatever is wrong with how it was sent."""
    _check_type(request)
    is_gzip = _is_gzip(request)
    wire = await _wire(request, timeout_s)
    metrics.WIRE_BYTES.observe(len(wire))
    if is_gzip or wire[:2] == MAGIC:
        return await _inflated(wire)
    if require_gzip and request.method == "POST":
        raise Problem(415, "GZIP_REQUIRED", "send the body gzip-compressed", headers=ONLY_GZIP)
    return wire


async def expect_later(request: web.Request) -> None:
    """Stands for aiohttp's own answer to `Expect`: who is refused by the first checks need not send the body."""
    del request


def _check_type(request: web.Request) -> None:
    for given in request.headers.getall("Content-Type", ()):
        kind = given.partition(";")[0].strip().lower()
        if kind not in _JSON_LIKE and not kind.endswith("+json"):
            raise Problem(415, "UNSUPPORTED_MEDIA_TYPE", "send JSON (Content-Type: application/json)")


def _is_gzip(request: web.Request) -> bool:
    """Whether the body is declared to be gzip; raises `Problem` where it is declared to be anything unknown."""
    given = ",".join(request.headers.getall("Content-Encoding", ())).lower()
    codings = [coding for part in given.split(",") if (coding := part.strip()) not in ("", "identity")]
    if codings not in ([], ["gzip"]):
        raise Problem(415, "UNSUPPORTED_ENCODING", "only gzip is understood as a content encoding", headers=ONLY_GZIP)
    return bool(codings)


async def _wire(request: web.Request, timeout_s: float) -> bytes:
    if (request.content_length or 0) > LARGEST_WIRE:
        raise _too_large()
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.content.iter_any():
                size += len(chunk)
                if size > LARGEST_WIRE:
                    raise _too_large()
                parts.append(chunk)
    except TimeoutError:
        raise Problem(
            408, "BODY_TIMEOUT", f"the body was not complete after {timeout_s:g} s", headers={"Connection": "close"}
        ) from None
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large() -> Problem:
    return Problem(413, "PAYLOAD_TOO_LARGE", f"at most {LARGEST_WIRE} bytes may be sent; gzip helps")


async def _inflated(wire: bytes) -> bytes:
    match inflate(wire) if is_small(wire, bound=LARGE) else await aside(inflate, wire):
        case NotGzip(why):
            raise Problem(400, "INVALID_GZIP", why)
        case TooLarge():
            raise Problem(413, "DECOMPRESSED_TOO_LARGE", f"the body inflates to more than {LARGEST} bytes")
        case body:
            return body
