"""Shares queries: readers of one feed that wake together ask for the same page."""

import asyncio
from collections.abc import Collection, Sequence

from services.chassis.runtime.background import retrieve_exception
from services.webhooks.domain.event import FeedEvent, FeedQuery, Head
from services.webhooks.ports import FeedReader


class FeedLoader:
    """Reads feeds; equal queries of one iteration of the event loop are one query."""

    def __init__(self, feed: FeedReader) -> None:
        self._feed = feed
        self._queries: dict[tuple[object, ...], asyncio.Task[Sequence[FeedEvent]]] = {}

    async def read(self, query: FeedQuery) -> Sequence[FeedEvent]:
        """A page of events; raises `UnavailableError`."""
        key = (query.site, query.after, query.rows, *query.types)
        task = self._queries.get(key)
        if task is None:
            task = self._queries[key] = asyncio.create_task(self._read(key, query))
            task.add_done_callback(retrieve_exception)
        # A cancelled request must not cancel the others' query.
        return await asyncio.shield(task)

    async def _read(self, key: tuple[object, ...], query: FeedQuery) -> Sequence[FeedEvent]:
        # Closed to later readers: the result might be older than their question.
        del self._queries[key]
        return await self._feed.read(query)

    async def read_many(self, site: int, sequences: Collection[int]) -> Sequence[FeedEvent]:
        """Those of the events that are still kept."""
        return await self._feed.read_many(site, sequences)

    async def find_event(self, site: int, event_id: str) -> FeedEvent | None:
        """The event with this id."""
        return await self._feed.find_event(site, event_id)

    async def find_head(self, site: int) -> Head:
        """The last event of the feed."""
        return await self._feed.find_head(site)

    async def find_position(self, site: int, at_us: int) -> int:
        """The sequence after which all events were recorded later than that time."""
        return await self._feed.find_position(site, at_us)
