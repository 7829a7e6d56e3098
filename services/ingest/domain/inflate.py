"""Gzip with a bound: a small body must not become a large one."""

import zlib
from dataclasses import dataclass

MAGIC = b"\x1f\x8b"
LARGEST_WIRE = 102_400
LARGEST = 4 * 1024 * 1024
_GZIP_ONLY = 31


@dataclass(frozen=True, slots=True)
class NotGzip:
    """The bytes are not exactly one complete gzip member."""

    why: str


@dataclass(frozen=True, slots=True)
class TooLarge:
    """The inflated body exceeds the bound; inflating stopped there."""

    bound: int


def inflate(wire: bytes, *, bound: int = LARGEST) -> bytes | NotGzip | TooLarge:
    """The inflated body, or why there is none. Never holds more than `bound` + 1 bytes of it."""
    stream = zlib.decompressobj(_GZIP_ONLY)
    try:
        body = stream.decompress(wire, bound + 1)
    except zlib.error:
        return NotGzip("the gzip data is damaged")
    if len(body) > bound:
        return TooLarge(bound)
    if not stream.eof:
        return NotGzip("the gzip data ends too early")
    if stream.unused_data:
        return NotGzip("something follows the gzip data")
    return body
