"""A request's body, read within bounds of size and time (`Content-Type` to gzip, in the order of the checks)."""

from aiohttp import web

from services.chassis.http.request_body import read_bounded, require_content_length, require_json
from services.chassis.runtime.errors import Problem
from services.ingest import metrics
from services.ingest.domain.inflate import (
    GZIP_MAGIC,
    MAX_BODY_BYTES,
    MAX_INFLATED_BYTES,
    InvalidGzip,
    TooLarge,
    declares_at_most,
    inflate,
)
from services.ingest.flows.offload import OFFLOAD_THRESHOLD_BYTES, run_in_thread

ONLY_GZIP = {"Accept-Encoding": "gzip"}
_HINT = "; gzip helps"


async def read_body(request: web.Request, *, timeout_s: float, require_gzip: bool) -> bytes:
    """The inflated body; raises `Problem` for whatever is wrong with how it was sent."""
    require_json(request)
    is_gzip = _is_gzip(request)
    wire = await _wire(request, timeout_s)
    metrics.WIRE_BYTES.observe(len(wire))
    if is_gzip or wire[:2] == GZIP_MAGIC:
        return await _inflated(wire)
    if require_gzip and request.method == "POST":
        raise Problem(415, "GZIP_REQUIRED", "send the body gzip-compressed", headers=ONLY_GZIP)
    return wire


async def defer_continue(request: web.Request) -> None:
    """Stands for aiohttp's own answer to `Expect`: who is refused by the first checks need not send the body."""
    del request


def _is_gzip(request: web.Request) -> bool:
    """Whether the body is declared to be gzip; raises `Problem` where it is declared to be anything unknown."""
    given = ",".join(request.headers.getall("Content-Encoding", ())).lower()
    codings = [coding for part in given.split(",") if (coding := part.strip()) not in ("", "identity")]
    if codings not in ([], ["gzip"]):
        raise Problem(415, "UNSUPPORTED_ENCODING", "only gzip is understood as a content encoding", headers=ONLY_GZIP)
    return bool(codings)


async def _wire(request: web.Request, timeout_s: float) -> bytes:
    require_content_length(request, max_bytes=MAX_BODY_BYTES, hint=_HINT)
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    return await read_bounded(request, max_bytes=MAX_BODY_BYTES, timeout_s=timeout_s, hint=_HINT)


async def _inflated(wire: bytes) -> bytes:
    match (
        inflate(wire)
        if declares_at_most(wire, max_bytes=OFFLOAD_THRESHOLD_BYTES)
        else await run_in_thread(inflate, wire)
    ):
        case InvalidGzip(why):
            raise Problem(400, "INVALID_GZIP", why)
        case TooLarge():
            raise Problem(413, "DECOMPRESSED_TOO_LARGE", f"the body inflates to more than {MAX_INFLATED_BYTES} bytes")
        case body:
            return body
