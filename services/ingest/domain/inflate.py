"""Gzip with a bound: a small body must not become a large one."""

import zlib
from dataclasses import dataclass

MAGIC = b"\x1f\x8b"
LARGEST_WIRE = 102_400
LARGEST = 4 * 1024 * 1024
_GZIP_ONLY = 31
_MOST_FOR_A_BYTE = 1032


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


def is_small(wire: bytes, *, bound: int) -> bool:
    """Whether the data says of itself, in its last four bytes, that it inflates to no more than `bound`.

    It may lie, and can be a thousand times its own size at most.
    """
    return len(wire) * _MOST_FOR_A_BYTE <= bound or int.from_bytes(wire[-4:], "little") <= bound
