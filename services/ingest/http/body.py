"""Reads a request's body within bounds of size and time, and checks how it was sent."""

from aiohttp import hdrs, web

from services.chassis.http.request_body import read_bounded, require_content_length, require_json
from services.chassis.runtime.errors import Problem
from services.ingest import metrics
from services.ingest.domain.body_budget import INFLATED_WEIGHT, BodyShare
from services.ingest.domain.inflate import GZIP_MAGIC, MAX_BODY_BYTES, InvalidGzip, TooLarge, held_bytes, inflate
from services.ingest.flows.offload import OFFLOAD_THRESHOLD_BYTES, run_in_thread

ACCEPT_GZIP = {"Accept-Encoding": "gzip"}
_SIZE_HINT = "; gzip helps"


class UnreadableBodyError(Exception):
    """The body was sent in a way that is not accepted; `problem` is the response."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.code)
        self.problem = problem


async def read_body(request: web.Request, share: BodyShare, *, timeout_s: float, require_gzip: bool) -> bytes:
    """Return the inflated body, whose memory is charged to `share`.

    Raises `UnreadableBodyError`, in the order in which the API documents the checks, or `BudgetExceededError`.
    """
    try:
        return await _read(request, share, timeout_s, require_gzip=require_gzip)
    except Problem as problem:
        raise UnreadableBodyError(problem) from None


async def defer_continue(request: web.Request) -> None:
    """Replace aiohttp's immediate `100 Continue`: a request refused by the first checks need not send its body."""
    del request


async def _read(request: web.Request, share: BodyShare, timeout_s: float, *, require_gzip: bool) -> bytes:
    require_json(request)
    is_gzip = _is_declared_gzip(request)
    body = await _receive(request, share, timeout_s)
    if is_gzip or body[:2] == GZIP_MAGIC:
        return await _inflate(body, share)
    if require_gzip and request.method == "POST":
        raise Problem(415, "GZIP_REQUIRED", "the body must be gzip-compressed", headers=ACCEPT_GZIP)
    return body


def _is_declared_gzip(request: web.Request) -> bool:
    headers = request.headers.getall(hdrs.CONTENT_ENCODING, ())
    if not headers:
        return False
    header = ",".join(headers).lower()
    codings = [coding for part in header.split(",") if (coding := part.strip()) not in ("", "identity")]
    # x-gzip is the old name of gzip (RFC 9110, 8.4.1.3).
    if codings not in ([], ["gzip"], ["x-gzip"]):
        raise Problem(415, "UNSUPPORTED_ENCODING", "the only supported Content-Encoding is gzip", headers=ACCEPT_GZIP)
    return bool(codings)


async def _receive(request: web.Request, share: BodyShare, timeout_s: float) -> bytes:
    require_content_length(request, max_bytes=MAX_BODY_BYTES, hint=_SIZE_HINT)
    declared = request.content_length or 0
    share.set(declared)
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    body = await read_bounded(
        request,
        max_bytes=MAX_BODY_BYTES,
        timeout_s=timeout_s,
        hint=_SIZE_HINT,
        on_size=lambda size: share.set(max(size, declared)),
    )
    metrics.WIRE_BYTES.observe(len(body))
    return body


async def _inflate(compressed: bytes, share: BodyShare) -> bytes:
    size = held_bytes(compressed)
    # Before the work, of which a client could otherwise ask for more than it has room for.
    share.set(INFLATED_WEIGHT * size)
    is_short = 0 < size <= OFFLOAD_THRESHOLD_BYTES
    match inflate(compressed) if is_short else await run_in_thread(inflate, compressed):
        case InvalidGzip(reason):
            raise Problem(400, "INVALID_GZIP", reason)
        case TooLarge(max_bytes):
            raise Problem(413, "DECOMPRESSED_TOO_LARGE", f"the body inflates to more than {max_bytes} bytes")
        case body:
            return body
