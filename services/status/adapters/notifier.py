"""Wakes requests that wait for a job as soon as it is written."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from services.jobs.events import JobKey
from services.status import metrics
from services.status.ports import Notifier


class JobWaiter:
    """One request that waits for a job."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._is_closed = False

    def notify(self) -> None:
        """Let `wait` return: the job has changed."""
        self._event.set()

    def close(self) -> None:
        """End the wait: no change follows any more."""
        self._is_closed = True
        self._event.set()

    async def wait(self, timeout_s: float) -> bool:
        """Return True once the job has changed since the last call; False after the timeout or when closed."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return not self._is_closed


class JobNotifier(Notifier):
    """Wakes the waiters of a job. The worker reports this process's writes, the change stream those of others."""

    def __init__(self, *, max_waiters: int) -> None:
        self._max_waiters = max_waiters
        self._waiters: dict[JobKey, set[JobWaiter]] = {}
        self._count = 0
        # Set by the change stream: it must be open before a waiting request reads the job.
        self.on_waiter: Callable[[], Awaitable[None]] | None = None

    @property
    def has_waiters(self) -> bool:
        """Whether any request waits."""
        return self._count > 0

    def notify(self, keys: Sequence[JobKey]) -> None:
        if self._waiters:
            for key in keys:
                for waiter in self._waiters.get(key, ()):
                    waiter.notify()

    def notify_all(self) -> None:
        """Wake all waiting requests."""
        self.notify(list(self._waiters))

    async def start(self) -> None:
        """Do nothing."""

    async def stop(self) -> None:
        """End all waits: they may last longer than a process has time to stop."""
        self._max_waiters = 0
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.close()

    @asynccontextmanager
    async def register(self, key: JobKey) -> AsyncIterator[JobWaiter | None]:
        """A waiter for this job, or None if too many wait already. Read the job after this call, not before."""
        if self._count >= self._max_waiters:
            metrics.WAITS_REFUSED.inc()
            yield None
            return
        waiter = JobWaiter()
        self._waiters.setdefault(key, set()).add(waiter)
        self._count += 1
        metrics.WAITERS.set(self._count)
        try:
            if self.on_waiter is not None:
                await self.on_waiter()
            yield waiter
        finally:
            self._count -= 1
            metrics.WAITERS.set(self._count)
            waiters = self._waiters[key]
            waiters.discard(waiter)
            if not waiters:
                del self._waiters[key]
