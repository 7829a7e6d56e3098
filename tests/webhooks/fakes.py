"""Fakes of webhooks' ports."""

import bisect
from collections.abc import Collection, Mapping, Sequence

from services.chassis.runtime.errors import UnavailableError
from services.webhooks.domain.event import EMPTY, FeedEvent, FeedQuery, Head
from services.webhooks.ports import Conflict


class MemoryFeed:
    """Feeds in memory, with the guarantees of `MongoFeedStore`; the next `fails` inserts raise after their effect."""

    def __init__(self) -> None:
        self.feeds: dict[int, dict[int, tuple[FeedEvent, int]]] = {}
        self.heads: dict[int, Head] = {}
        self.fails = 0

    async def find_head(self, site: int) -> Head:
        feed = self.feeds.get(site, {})
        last = Head(max(feed), feed[max(feed)][1]) if feed else EMPTY
        return max(last, self.heads.get(site, EMPTY), key=lambda head: head.sequence)

    async def insert(self, site: int, events: Sequence[FeedEvent], *, recorded_us: int) -> tuple[int, Conflict | None]:
        feed, known = self.feeds.setdefault(site, {}), self._ids()
        for position, event in enumerate(events):
            if event.sequence in feed:
                return position, Conflict.TAKEN
            if event.id in known:
                return position, Conflict.KNOWN
            feed[event.sequence] = event, recorded_us
        if self.fails:
            self.fails -= 1
            raise UnavailableError("memory")
        return len(events), None

    async def find_known(self, ids: Collection[str]) -> Collection[str]:
        return self._ids() & set(ids)

    async def save_heads(self, heads: Mapping[int, Head]) -> None:
        for site, head in heads.items():
            self.heads[site] = max(self.heads.get(site, EMPTY), head, key=lambda each: each.sequence)

    async def read(self, query: FeedQuery) -> Sequence[FeedEvent]:
        feed = self.feeds.get(query.site, {})
        events = [feed[sequence][0] for sequence in sorted(feed) if sequence > query.after]
        return [event for event in events if not query.types or event.type in query.types][: query.rows]

    async def read_many(self, site: int, sequences: Collection[int]) -> Sequence[FeedEvent]:
        feed = self.feeds.get(site, {})
        return [feed[sequence][0] for sequence in sequences if sequence in feed]

    async def find_event(self, site: int, event_id: str) -> FeedEvent | None:
        return next((event for event, _ in self.feeds.get(site, {}).values() if event.id == event_id), None)

    async def find_position(self, site: int, at_us: int) -> int:
        feed = self.feeds.get(site, {})
        times = [feed[sequence][1] for sequence in sorted(feed)]
        first = min(feed, default=(await self.find_head(site)).sequence + 1)
        return first - 1 + bisect.bisect_right(times, at_us)

    def _ids(self) -> set[str]:
        return {event.id for feed in self.feeds.values() for event, _ in feed.values()}


class FakeNotifier:
    """Records the notified sites."""

    def __init__(self) -> None:
        self.notified: list[int] = []

    def notify(self, sites: Collection[int]) -> None:
        self.notified += sites
