"""Read a site's feed from any point, and wait for what comes next."""

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from services.webhooks.domain.event import FeedEvent, FeedQuery
from services.webhooks.ports import FeedReader, FeedWaiters


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything that reading may touch; `clock_s` is a monotonic clock."""

    feed: FeedReader
    waiters: FeedWaiters
    clock_s: Callable[[], float]


async def read_page(query: FeedQuery, deps: Deps) -> Sequence[FeedEvent]:
    """A page of events. Raises `UnavailableError`."""
    return await deps.feed.read(query)


async def wait_for_page(query: FeedQuery, deps: Deps, *, timeout_s: float) -> Sequence[FeedEvent]:
    """A page of events; an empty one only if there are none for `timeout_s`. Raises `UnavailableError`."""
    deadline_s = deps.clock_s() + timeout_s
    async with deps.waiters.register(query.site) as waiter:
        may_wait = waiter is not None
        while True:
            events = await deps.feed.read(query)
            left_s = deadline_s - deps.clock_s()
            if events or waiter is None or not may_wait or left_s <= 0:
                return events
            may_wait = await waiter.wait(left_s)


class TooManyReadersError(Exception):
    """No further reader may wait now."""


async def follow(query: FeedQuery, deps: Deps, *, heartbeat_s: float) -> AsyncGenerator[Sequence[FeedEvent], None]:
    """Yield pages without end, and an empty page whenever nothing happened for `heartbeat_s`; ends with the process.

    Raises `TooManyReadersError` before the first page, and `UnavailableError`.
    """
    async with deps.waiters.register(query.site) as waiter:
        if waiter is None:
            raise TooManyReadersError
        # Sent at once, so that the client sees that the stream is open.
        yield ()
        quiet_until_s = deps.clock_s() + heartbeat_s
        while True:
            events = await deps.feed.read(query)
            if events:
                query = replace(query, after=events[-1].sequence)
                yield events
                quiet_until_s = deps.clock_s() + heartbeat_s
                if len(events) == query.rows:
                    continue
            # Events that came since the page was read end the wait at once; a heartbeat needs no query.
            while not await waiter.wait(max(quiet_until_s - deps.clock_s(), 0)):
                if waiter.is_closed:
                    return
                if deps.clock_s() >= quiet_until_s:
                    yield ()
                    quiet_until_s = deps.clock_s() + heartbeat_s
