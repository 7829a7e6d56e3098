"""Bounded gzip decompression: a small body must not inflate to a huge one."""

import zlib
from dataclasses import dataclass

GZIP_MAGIC = b"\x1f\x8b"
MAX_BODY_BYTES = 102_400
MAX_INFLATED_BYTES = 4 * 1024 * 1024
_GZIP_WBITS = 31
# Deflate cannot expand a byte to more.
_MAX_RATIO = 1032
_DISCARDED_AT_ONCE = 64 * 1024


@dataclass(frozen=True, slots=True)
class InvalidGzip:
    """The bytes are not exactly one complete gzip member."""

    reason: str


@dataclass(frozen=True, slots=True)
class TooLarge:
    """The body would inflate to more than `max_bytes`; decompression stopped there."""

    max_bytes: int


def inflate(compressed: bytes, *, max_bytes: int = MAX_INFLATED_BYTES) -> bytes | InvalidGzip | TooLarge:
    """Return the inflated body, or why it is refused. Never holds more of it than `held_bytes` says."""
    decompressor = zlib.decompressobj(_GZIP_WBITS)
    bound = held_bytes(compressed, max_bytes=max_bytes)
    try:
        body = decompressor.decompress(compressed, bound + 1)
        size = len(body)
        # The body is invalid, or too large: only why is of interest.
        while bound < size <= max_bytes and not decompressor.eof and decompressor.unconsumed_tail:
            size += len(decompressor.decompress(decompressor.unconsumed_tail, _DISCARDED_AT_ONCE))
    except zlib.error:
        return InvalidGzip("the gzip data is corrupt")
    if size > max_bytes:
        return TooLarge(max_bytes)
    if not decompressor.eof:
        return InvalidGzip("the gzip data is truncated")
    if decompressor.unused_data:
        return InvalidGzip("the gzip data is followed by other data")
    return body


def held_bytes(compressed: bytes, *, max_bytes: int = MAX_INFLATED_BYTES) -> int:
    """Return to how many bytes the body inflates at most if it is valid; 0 if it is invalid or too large.

    Its trailer has the size, and a body that is larger than that is invalid.
    """
    size = min(len(compressed) * _MAX_RATIO, int.from_bytes(compressed[-4:], "little"))
    return size if size <= max_bytes else 0
