"""Wakes requests that wait for a change of something, by its key."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Hashable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from prometheus_client import Counter, Gauge

Key = TypeVar("Key", bound=Hashable)


class Waiter:
    """One request that waits."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.is_closed = False

    def notify(self) -> None:
        """Let `wait` return: there is a change."""
        self._event.set()

    def close(self) -> None:
        """End this wait and later ones: no change is notified any more."""
        self.is_closed = True
        self._event.set()

    async def wait(self, timeout_s: float) -> bool:
        """Return True once there is a change since the last call; False after the timeout or when closed."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            return False
        if not self.is_closed:
            self._event.clear()
        return not self.is_closed


class Notifier(Generic[Key]):
    """Wakes the waiters of a key. This process reports its own changes, a change stream those of others.

    `listeners` are called with every key that has changed, and with None if any may have changed. `waiting` is set to
    the number of waiters, `refused` counts those that were too many.
    """

    def __init__(self, *, max_waiters: int, waiting: Gauge, refused: Counter) -> None:
        self._max_waiters = max_waiters
        self._waiting = waiting
        self._refused = refused
        self._waiters: dict[Key, set[Waiter]] = {}
        self._count = 0
        self.listeners: list[Callable[[Key | None], None]] = []
        # Set by the change stream: it must be open before a waiting request reads what it waits for.
        self.on_waiter: Callable[[], Awaitable[None]] | None = None

    @property
    def has_waiters(self) -> bool:
        """Whether any request waits."""
        return self._count > 0

    def notify(self, keys: Collection[Key]) -> None:
        """Wake the requests that wait for these keys."""
        if self._waiters:
            for key in keys:
                for waiter in self._waiters.get(key, ()):
                    waiter.notify()
        for listener in self.listeners:
            for key in keys:
                listener(key)

    def notify_all(self) -> None:
        """Wake all waiting requests."""
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.notify()
        for listener in self.listeners:
            listener(None)

    async def start(self) -> None:
        """Do nothing."""

    async def stop(self) -> None:
        """End all waits: they may last longer than a process has time to stop."""
        self._max_waiters = 0
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.close()

    @asynccontextmanager
    async def register(self, key: Key) -> AsyncIterator[Waiter | None]:
        """A waiter, or None if too many wait already. Read what is waited for after this call, not before."""
        if self._count >= self._max_waiters:
            self._refused.inc()
            yield None
            return
        waiter = Waiter()
        self._waiters.setdefault(key, set()).add(waiter)
        self._count += 1
        self._waiting.set(self._count)
        try:
            if self.on_waiter is not None:
                await self.on_waiter()
            yield waiter
        finally:
            self._count -= 1
            self._waiting.set(self._count)
            waiters = self._waiters[key]
            waiters.discard(waiter)
            if not waiters:
                del self._waiters[key]
