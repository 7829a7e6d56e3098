"""Reads request bodies within bounds of size and time."""

import asyncio
from collections.abc import Callable
from functools import lru_cache

from aiohttp import hdrs, web
from multidict import CIMultiDictProxy

from services.chassis.runtime.errors import Problem

# By default curl declares every body as x-www-form-urlencoded.
_ACCEPTED_TYPES = frozenset(
    {"", "application/json", "text/json", "application/octet-stream", "text/plain", "application/x-www-form-urlencoded"}
)


def require_json(request: web.Request) -> None:
    """Raise a 415 if the declared media type cannot be JSON."""
    if not may_be_json(request.headers):
        raise Problem(415, "UNSUPPORTED_MEDIA_TYPE", "send JSON (Content-Type: application/json)")


def may_be_json(headers: CIMultiDictProxy[str]) -> bool:
    """Whether the declared media type, if any, can be JSON."""
    return all(map(_may_be_json, headers.getall(hdrs.CONTENT_TYPE, ())))


@lru_cache(maxsize=256)
def _may_be_json(header: str) -> bool:
    media_type = header.partition(";")[0].strip().lower()
    return media_type in _ACCEPTED_TYPES or media_type.endswith("+json")


def require_content_length(request: web.Request, *, max_bytes: int, hint: str = "") -> None:
    """Raise a 413 if the declared length exceeds `max_bytes`; `hint` is appended to the detail."""
    if (request.content_length or 0) > max_bytes:
        raise _too_large(max_bytes, hint)


async def read_bounded(
    request: web.Request,
    *,
    max_bytes: int,
    timeout_s: float,
    hint: str = "",
    on_size: Callable[[int], None] = lambda _size: None,
) -> bytes:
    """Return the body as it was sent. Raises a 413 as soon as it is too large, and a 408 after `timeout_s`.

    `on_size` is called with the size so far, and may raise to refuse more.
    """
    content = request.content
    if content.is_eof():
        # A small body usually arrives together with its head: no timeout is needed.
        body = content.read_nowait()
        if len(body) > max_bytes:
            raise _too_large(max_bytes, hint)
        on_size(len(body))
        return body
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in content.iter_any():
                size += len(chunk)
                if size > max_bytes:
                    raise _too_large(max_bytes, hint)
                on_size(size)
                chunks.append(chunk)
    except TimeoutError:
        detail = f"the body was not complete after {timeout_s:g} s"
        raise Problem(408, "BODY_TIMEOUT", detail, headers={"Connection": "close"}) from None
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_large(max_bytes: int, hint: str) -> Problem:
    return Problem(413, "PAYLOAD_TOO_LARGE", f"the body may have at most {max_bytes} bytes{hint}")
