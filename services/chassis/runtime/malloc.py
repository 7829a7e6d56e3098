"""Settings of glibc's allocator, and the return of what it keeps. Other C libraries have neither."""

import asyncio
import ctypes
import gc
from contextlib import suppress
from pathlib import Path
from resource import getpagesize
from time import monotonic

# glibc's M_MMAP_THRESHOLD, M_TRIM_THRESHOLD and M_ARENA_MAX.
_OPTIONS = {-3: 8 * 2**20, -1: 16 * 2**20, -8: 2}
# Services need about half of it. Trimming takes some milliseconds.
TRIM_ABOVE_BYTES, GROWTH_BYTES = 160 * 2**20, 32 * 2**20
MIN_PAUSE_S, LONG_PAUSE_S = 2.0, 30.0
# Of the time. The objects of 400 requests in progress, 65,000, took 40 ms.
MAX_COLLECTING_SHARE = 0.001
_STATM = Path("/proc/self/statm")


def tune_malloc() -> None:
    """Let the allocator keep a few freed megabytes.

    For request bodies of megabytes, returning the pages and requesting new ones costs more than filling them. Threads
    share two arenas, or each would keep what it has freed.
    """
    with suppress(OSError, AttributeError):
        for option, value in _OPTIONS.items():
            ctypes.CDLL(None).mallopt(option, value)


class MemoryTrimmer:
    """Returns freed pages to the system while the process is large, and collects garbage if it remains large.

    The allocator returns only the pages at the end of its heap, and cyclic garbage is seldom collected (see `tune_gc`).
    After thousands of request bodies at once, hundreds of megabytes would stay.
    """

    def __init__(self) -> None:
        self._trimmed_at_s = -LONG_PAUSE_S
        self._left_bytes = 0
        self._collect_at_s = -LONG_PAUSE_S

    async def trim_if_due(self, now_s: float) -> None:
        """Trim if the process is large and has grown since the last time, or a while after it; `now_s` is monotonic."""
        resident = _resident_bytes()
        has_grown = resident > self._left_bytes + GROWTH_BYTES
        pause_s = MIN_PAUSE_S if has_grown else LONG_PAUSE_S
        if resident < TRIM_ABOVE_BYTES or now_s < self._trimmed_at_s + pause_s:
            return
        self._trimmed_at_s = now_s
        await _trim()
        if now_s >= self._collect_at_s and _resident_bytes() >= TRIM_ABOVE_BYTES:
            self._collect(now_s)
            await _trim()
        self._left_bytes = _resident_bytes()

    def _collect(self, now_s: float) -> None:
        # It holds the interpreter's lock from begin to end: a thread would delay the event loop as much.
        started_at = monotonic()
        gc.collect()
        self._collect_at_s = now_s + (monotonic() - started_at) / MAX_COLLECTING_SHARE


async def _trim() -> None:
    with suppress(OSError, AttributeError):
        await asyncio.to_thread(ctypes.CDLL(None).malloc_trim, 0)


def _resident_bytes() -> int:
    try:
        return int(_STATM.read_text(encoding="ascii").split()[1]) * getpagesize()
    except OSError:
        return 0
