"""Wakes readers that wait for events of a site as soon as one is recorded."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager

from services.webhooks import metrics


class FeedWaiter:
    """One reader that waits."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.is_closed = False

    def notify(self) -> None:
        """Let `wait` return: there are new events."""
        self._event.set()

    def close(self) -> None:
        """End the wait: no event follows any more."""
        self.is_closed = True
        self._event.set()

    async def wait(self, timeout_s: float) -> bool:
        """Return True once there are events since the last call; False after the timeout or when closed."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            return False
        if not self.is_closed:
            self._event.clear()
        return not self.is_closed


class SiteNotifier:
    """Wakes the waiters of a site. Appending reports this process's events, the change stream those of others.

    `listeners` are called with every site that has new events, and with None if any may have some.
    """

    def __init__(self, *, max_waiters: int) -> None:
        self._max_waiters = max_waiters
        self._waiters: dict[int, set[FeedWaiter]] = {}
        self._count = 0
        self.listeners: list[Callable[[int | None], None]] = []
        # Set by the change stream: it must be open before a waiting reader reads the feed.
        self.on_waiter: Callable[[], Awaitable[None]] | None = None

    @property
    def has_waiters(self) -> bool:
        """Whether any reader waits."""
        return self._count > 0

    def notify(self, sites: Collection[int]) -> None:
        """Wake the readers that wait for events of these sites."""
        for site in sites:
            for waiter in self._waiters.get(site, ()):
                waiter.notify()
            for listener in self.listeners:
                listener(site)

    def notify_all(self) -> None:
        """Wake all waiting readers."""
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
    async def register(self, site: int) -> AsyncIterator[FeedWaiter | None]:
        """A waiter, or None if too many wait already. Read the feed after this call, not before."""
        if self._count >= self._max_waiters:
            metrics.WAITS_REFUSED.inc()
            yield None
            return
        waiter = FeedWaiter()
        self._waiters.setdefault(site, set()).add(waiter)
        self._count += 1
        metrics.WAITERS.set(self._count)
        try:
            if self.on_waiter is not None:
                await self.on_waiter()
            yield waiter
        finally:
            self._count -= 1
            metrics.WAITERS.set(self._count)
            waiters = self._waiters[site]
            waiters.discard(waiter)
            if not waiters:
                del self._waiters[site]
