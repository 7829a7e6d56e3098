"""Gzip with a bound: a small body must not become a large one."""

import zlib
from dataclasses import dataclass

GZIP_MAGIC = b"\x1f\x8b"
MAX_BODY_BYTES = 102_400
MAX_INFLATED_BYTES = 4 * 1024 * 1024
_GZIP_WBITS = 31
_MAX_RATIO = 1032


@dataclass(frozen=True, slots=True)
class InvalidGzip:
    """The bytes are not exactly one complete gzip member."""

    reason: str


@dataclass(frozen=True, slots=True)
class TooLarge:
    """The inflated body exceeds the bound; inflating stopped there."""

    max_bytes: int


def inflate(compressed: bytes, *, max_bytes: int = MAX_INFLATED_BYTES) -> bytes | InvalidGzip | TooLarge:
    """The inflated body, or why there is none. Never holds more than `bound` + 1 bytes of it."""
    stream = zlib.decompressobj(_GZIP_WBITS)
    try:
        body = stream.decompress(compressed, max_bytes + 1)
    except zlib.error:
        return InvalidGzip("the gzip data is damaged")
    if len(body) > max_bytes:
        return TooLarge(max_bytes)
    if not stream.eof:
        return InvalidGzip("the gzip data ends too early")
    if stream.unused_data:
        return InvalidGzip("something follows the gzip data")
    return body


def declares_at_most(compressed: bytes, *, max_bytes: int) -> bool:
    """Whether the data says of itself, in its last four bytes, that it inflates to no more than `bound`.

    It may lie, and can be a thousand times its own size at most.
    """
    return len(compressed) * _MAX_RATIO <= max_bytes or int.from_bytes(compressed[-4:], "little") <= max_bytes
