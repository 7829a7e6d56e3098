"""Bounded gzip decompression: a small body must not inflate to a huge one."""

import zlib
from dataclasses import dataclass

GZIP_MAGIC = b"\x1f\x8b"
MAX_BODY_BYTES = 102_400
MAX_INFLATED_BYTES = 4 * 1024 * 1024
_GZIP_WBITS = 31
# Deflate cannot expand a byte to more.
_MAX_RATIO = 1032


@dataclass(frozen=True, slots=True)
class InvalidGzip:
    """The bytes are not exactly one complete gzip member."""

    reason: str


@dataclass(frozen=True, slots=True)
class TooLarge:
    """The body would inflate to more than `max_bytes`; decompression stopped there."""

    max_bytes: int


def inflate(compressed: bytes, *, max_bytes: int = MAX_INFLATED_BYTES) -> bytes | InvalidGzip | TooLarge:
    """Return the inflated body, or why it is refused. Never holds more than `max_bytes` + 1 bytes of it."""
    decompressor = zlib.decompressobj(_GZIP_WBITS)
    try:
        body = decompressor.decompress(compressed, max_bytes + 1)
    except zlib.error:
        return InvalidGzip("the gzip data is corrupt")
    if len(body) > max_bytes:
        return TooLarge(max_bytes)
    if not decompressor.eof:
        return InvalidGzip("the gzip data is truncated")
    if decompressor.unused_data:
        return InvalidGzip("the gzip data is followed by other data")
    return body


def declared_size(compressed: bytes, *, max_bytes: int) -> int:
    """Return the size in the gzip trailer, which may lie, or the greatest possible one; at most `max_bytes`."""
    return min(int.from_bytes(compressed[-4:], "little"), len(compressed) * _MAX_RATIO, max_bytes)


def declares_at_most(compressed: bytes, *, max_bytes: int) -> bool:
    """Return whether the body is declared to inflate to at most `max_bytes`. That may be a lie: use it for choices."""
    return declared_size(compressed, max_bytes=max_bytes + 1) <= max_bytes
