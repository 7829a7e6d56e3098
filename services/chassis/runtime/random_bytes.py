"""Unpredictable bytes for identifiers, drawn from the operating system many at a time: a request needs several."""

import os

BYTES = 16
_DRAWN_AT_ONCE = 256
_pool: list[bytes] = []
# Parent and child would use the same bytes.
os.register_at_fork(after_in_child=_pool.clear)


def random_bytes() -> bytes:
    """Return 16 bytes that are never returned again."""
    while True:
        try:
            # Atomic: threads may call this, too.
            return _pool.pop()
        except IndexError:
            drawn = os.urandom(BYTES * _DRAWN_AT_ONCE)
            _pool.extend(drawn[at : at + BYTES] for at in range(0, len(drawn), BYTES))
