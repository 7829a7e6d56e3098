"""Wakes requests that wait for a job, as soon as it is written."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from services.jobs.events import JobKey
from services.status import metrics


class JobWaiter:
    """One request's place at the bell."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._is_closed = False

    def notify(self) -> None:
        """Something happened to the job."""
        self._event.set()

    def close(self) -> None:
        """Whatever happens, it will not be told here."""
        self._is_closed = True
        self._event.set()

    async def wait(self, timeout_s: float) -> bool:
        """True as soon as something has happened since the last time; False if nothing does in time, or at the end."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return not self._is_closed


class JobNotifier:
    """Rung by this process's own writes, and by whoever watches those of others."""

    def __init__(self, *, max_waiters: int) -> None:
        self._max_waiters = max_waiters
        self._waiters: dict[JobKey, set[JobWaiter]] = {}
        self._count = 0
        # Set by whoever brings news from elsewhere: it must be listening before the job is looked at.
        self.on_waiter: Callable[[], Awaitable[None]] | None = None

    @property
    def has_waiters(self) -> bool:
        """Whether anybody waits."""
        return self._count > 0

    def notify(self, keys: Sequence[JobKey]) -> None:
        """These jobs changed."""
        if self._waiters:
            for key in keys:
                for turn in self._waiters.get(key, ()):
                    turn.notify()

    def notify_all(self) -> None:
        """Any job may have changed."""
        self.notify(list(self._waiters))

    async def start(self) -> None:
        """Nothing: it is rung by others."""

    async def stop(self) -> None:
        """Let nobody wait any longer: a wait may last longer than a process has to stop in."""
        self._max_waiters = 0
        for turns in self._waiters.values():
            for turn in turns:
                turn.close()

    @asynccontextmanager
    async def register(self, key: JobKey) -> AsyncIterator[JobWaiter | None]:
        """A turn for this job, or None if too many wait already. Look at the job after this, not before."""
        if self._count >= self._max_waiters:
            metrics.WAITS_REFUSED.inc()
            yield None
            return
        turn = JobWaiter()
        self._waiters.setdefault(key, set()).add(turn)
        self._count += 1
        metrics.WAITERS.set(self._count)
        try:
            if self.on_waiter is not None:
                await self.on_waiter()
            yield turn
        finally:
            self._count -= 1
            metrics.WAITERS.set(self._count)
            turns = self._waiters[key]
            turns.discard(turn)
            if not turns:
                del self._waiters[key]
