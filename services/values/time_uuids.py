"""UUIDs of version 1: identifiers that contain their creation time."""

import re
from uuid import UUID

_TICKS_PER_US = 10
# From the start of the Gregorian calendar (1582-10-15) to 1970, in ticks of 100 ns.
_GREGORIAN = 0x01B21DD213814000
_CANONICAL = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# Bit that marks a random node, which is not the address of a network card (RFC 9562, 6.10).
_RANDOM_NODE = 1 << 40


def time_uuid(us: int, *, clock_seq: int, node: int) -> str:
    """Return a UUID created `us` microseconds after 1970. `clock_seq` (14 bits) and `node` (48 bits) are random."""
    ticks = us * _TICKS_PER_US + _GREGORIAN
    node = node & 0xFFFFFFFFFFFF | _RANDOM_NODE
    clock_seq = clock_seq & 0x3FFF | 0x8000
    low, middle, high = ticks & 0xFFFFFFFF, ticks >> 32 & 0xFFFF, ticks >> 48 & 0xFFF | 0x1000
    return f"{low:08x}-{middle:04x}-{high:04x}-{clock_seq:04x}-{node:012x}"


def is_uuid(text: str) -> bool:
    """Whether `text` is a UUID of any version in canonical form."""
    return _CANONICAL.fullmatch(text) is not None


def timestamp_us(text: str) -> int | None:
    """Return the creation time of a version 1 UUID in microseconds since 1970; None for any other text."""
    if not is_uuid(text) or text[14] != "1" or text[19] not in "89ab":
        return None
    return (UUID(text).time - _GREGORIAN) // _TICKS_PER_US
