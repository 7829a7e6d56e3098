"""Runs the comparisons of schemas outside the event loop, within a budget: they are expensive and need no token."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic, thread_time
from typing import TypeVar

from services.schema_registry.subjects import RegistryError

# Of one core: while a thread computes, the event loop waits up to five milliseconds for each turn.
CPU_SHARE = 0.1
MAX_WAITING = 8
T = TypeVar("T")


class Comparisons:
    """One comparison at a time, in a thread, each followed by a pause that keeps the thread within its CPU share."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = monotonic,
        cpu_clock: Callable[[], float] = thread_time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._sleep = sleep
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="schemas")
        self._lock = asyncio.Lock()
        self._waiting = 0
        self._paused_until = 0.0

    async def run(self, compare: Callable[[], T]) -> T:
        """Return the result of `compare`. Raises a 503 `RegistryError` if too many comparisons are waiting."""
        if self._waiting >= MAX_WAITING:
            raise RegistryError(503, 503, "too many schemas are being compared", retry_after_s=1)
        self._waiting += 1
        try:
            async with self._lock:
                await self._sleep(max(self._paused_until - self._clock(), 0.0))
                return await asyncio.get_running_loop().run_in_executor(self._executor, self._measure, compare)
        finally:
            self._waiting -= 1

    def _measure(self, compare: Callable[[], T]) -> T:
        began = self._cpu_clock()
        try:
            return compare()
        finally:
            took_s = self._cpu_clock() - began
            self._paused_until = self._clock() + took_s * (1 / CPU_SHARE - 1)
