"""UUIDs of version 1: identifiers that tell when they were made."""

import re
from uuid import UUID

_TICKS_PER_US = 10
# From the start of the Gregorian calendar (1582-10-15) to 1970, in ticks of 100 ns.
_GREGORIAN = 0x01B21DD213814000
_CANONICAL = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# A node that is drawn, not an address of a network card, says so with this bit (RFC 9562, 6.10).
_DRAWN_NODE = 1 << 40


def time_uuid(us: int, *, clock_seq: int, node: int) -> str:
    """The UUID that was made `us` microseconds after 1970. `clock_seq` (14 bits) and `node` (48 bits) are chance."""
    ticks = us * _TICKS_PER_US + _GREGORIAN
    node = node & 0xFFFFFFFFFFFF | _DRAWN_NODE
    clock_seq = clock_seq & 0x3FFF | 0x8000
    low, middle, high = ticks & 0xFFFFFFFF, ticks >> 32 & 0xFFFF, ticks >> 48 & 0xFFF | 0x1000
    return f"{low:08x}-{middle:04x}-{high:04x}-{clock_seq:04x}-{node:012x}"


def is_uuid(text: str) -> bool:
    """Whether `text` is a UUID in its canonical form, of any version."""
    return _CANONICAL.fullmatch(text) is not None


def timestamp_us(text: str) -> int | None:
    """When a UUID of version 1 was made, in microseconds since 1970; None for anything else."""
    if not is_uuid(text) or text[14] != "1" or text[19] not in "89ab":
        return None
    return (UUID(text).time - _GREGORIAN) // _TICKS_PER_US
