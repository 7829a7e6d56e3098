"""Settings of glibc's allocator, and the return of what it keeps. Other C libraries have neither."""

import asyncio
import ctypes
from contextlib import suppress
from pathlib import Path
from resource import getpagesize

# glibc's M_MMAP_THRESHOLD, M_TRIM_THRESHOLD and M_ARENA_MAX.
_OPTIONS = {-3: 8 * 2**20, -1: 16 * 2**20, -8: 2}
# Services need about half of it. Trimming takes some milliseconds.
TRIM_ABOVE_BYTES = 160 * 2**20
MIN_PAUSE_S = 5.0
_STATM = Path("/proc/self/statm")


def tune_malloc() -> None:
    """Let the allocator keep a few freed megabytes.

    For request bodies of megabytes, returning the pages and requesting new ones costs more than filling them. Threads
    share two arenas, or each would keep what it has freed.
    """
    with suppress(OSError, AttributeError):
        for option, value in _OPTIONS.items():
            ctypes.CDLL(None).mallopt(option, value)


class MallocTrimmer:
    """Returns freed pages to the system while the process is large.

    The allocator returns only those at the end of its heap. After thousands of request bodies at once, hundreds of
    megabytes would stay.
    """

    def __init__(self) -> None:
        self._next_s = 0.0

    async def trim_if_due(self, now_s: float) -> None:
        """Trim in a thread if the process is large, and a while after the last time; `now_s` is monotonic."""
        if now_s < self._next_s or _resident_bytes() < TRIM_ABOVE_BYTES:
            return
        self._next_s = now_s + MIN_PAUSE_S
        with suppress(OSError, AttributeError):
            await asyncio.to_thread(ctypes.CDLL(None).malloc_trim, 0)


def _resident_bytes() -> int:
    try:
        return int(_STATM.read_text(encoding="ascii").split()[1]) * getpagesize()
    except OSError:
        return 0
