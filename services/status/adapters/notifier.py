"""Wakes requests that wait for a job, as soon as it is written."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from services.status import metrics
from services.status.domain.facts import Key


class Turn:
    """One request's place at the bell."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()
        self._is_over = False

    def ring(self) -> None:
        """Something happened to the job."""
        self._rung.set()

    def end(self) -> None:
        """Whatever happens, it will not be told here."""
        self._is_over = True
        self._rung.set()

    async def rung(self, within_s: float) -> bool:
        """True as soon as something has happened since the last time; False if nothing does in time, or at the end."""
        try:
            async with asyncio.timeout(within_s):
                await self._rung.wait()
        except TimeoutError:
            return False
        self._rung.clear()
        return not self._is_over


class HandBell:
    """Rung by this process's own writes, and by whoever watches those of others."""

    def __init__(self, *, most: int) -> None:
        self._most = most
        self._turns: dict[Key, set[Turn]] = {}
        self._count = 0
        # Set by whoever brings news from elsewhere: it must be listening before the job is looked at.
        self.before_waiting: Callable[[], Awaitable[None]] | None = None

    @property
    def is_waited_for(self) -> bool:
        """Whether anybody waits."""
        return self._count > 0

    def ring(self, keys: Sequence[Key]) -> None:
        """These jobs changed."""
        if self._turns:
            for key in keys:
                for turn in self._turns.get(key, ()):
                    turn.ring()

    def ring_all(self) -> None:
        """Any job may have changed."""
        self.ring(list(self._turns))

    async def start(self) -> None:
        """Nothing: it is rung by others."""

    async def stop(self) -> None:
        """Let nobody wait any longer: a wait may last longer than a process has to stop in."""
        self._most = 0
        for turns in self._turns.values():
            for turn in turns:
                turn.end()

    @asynccontextmanager
    async def wait_for(self, key: Key) -> AsyncIterator[Turn | None]:
        """A turn for this job, or None if too many wait already. Look at the job after this, not before."""
        if self._count >= self._most:
            metrics.WAITS_REFUSED.inc()
            yield None
            return
        turn = Turn()
        self._turns.setdefault(key, set()).add(turn)
        self._count += 1
        metrics.WAITERS.set(self._count)
        try:
            if self.before_waiting is not None:
                await self.before_waiting()
            yield turn
        finally:
            self._count -= 1
            metrics.WAITERS.set(self._count)
            turns = self._turns[key]
            turns.discard(turn)
            if not turns:
                del self._turns[key]
