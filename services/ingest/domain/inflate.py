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


def declares_at_most(compressed: bytes, *, max_bytes: int) -> bool:
    """Whether the body cannot, or by the size in its gzip trailer does not, inflate to more than `max_bytes`.

    The trailer may lie: use it only to choose how to inflate.
    """
    return len(compressed) * _MAX_RATIO <= max_bytes or int.from_bytes(compressed[-4:], "little") <= max_bytes
