"""Where an endpoint's events come from: new ones, retries that are due, and replays.

Each source loads a page when it has run out, and returns one event at a time. After `UnavailableError` it loads again.
"""

from collections import deque
from collections.abc import Collection, Sequence

from msgspec.structs import replace

from services.webhooks.domain.delivery import Delivery, DeliveryState, Outcome
from services.webhooks.domain.endpoint import Endpoint
from services.webhooks.domain.event import FeedEvent, FeedQuery
from services.webhooks.domain.replay import Replay, ReplayReader
from services.webhooks.flows.push import Deps, Work, first_try

PAGE_ROWS = 100


class NewEvents:
    """The events behind an endpoint's position."""

    def __init__(self, endpoint: Endpoint, deps: Deps) -> None:
        self._feed = deps.feed
        self._read_to = endpoint.position
        self._open: set[int] = set()
        self._loaded: deque[Work] = deque()
        self._may_have_more = True

    @property
    def position(self) -> int:
        """The sequence up to which everything is recorded."""
        return min(self._open) - 1 if self._open else self._read_to

    def on_new_events(self) -> None:
        """There may be new events in the feed."""
        self._may_have_more = True

    def close(self, sequence: int) -> None:
        """The event is recorded."""
        self._open.discard(sequence)

    async def next(self, endpoint: Endpoint) -> Work | None:
        """Take the next event."""
        if not self._loaded and self._may_have_more:
            await self._load(endpoint)
        return self._loaded.popleft() if self._loaded else None

    async def _load(self, endpoint: Endpoint) -> None:
        # Before reading: an event that is appended meanwhile must set it again.
        self._may_have_more = False
        query = FeedQuery(site=endpoint.site, after=self._read_to, rows=PAGE_ROWS, types=tuple(sorted(endpoint.types)))
        try:
            events = await self._feed.read(query)
        except BaseException:
            self._may_have_more = True
            raise
        if events:
            self._read_to = events[-1].sequence
            self._open.update(event.sequence for event in events)
            self._loaded.extend(first_try(endpoint, event) for event in events)
        if len(events) == PAGE_ROWS:
            self._may_have_more = True


class DueRetries:
    """Deliveries whose next try is due. `due_us`: when the next one is; 0 if unknown, None if there is none."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._loaded: deque[Work] = deque()
        self.due_us: int | None = 0

    def schedule(self, due_us: int) -> None:
        """A stored delivery is due at that time."""
        self.due_us = due_us if self.due_us is None else min(self.due_us, due_us)

    async def next(self, endpoint: Endpoint, active: Collection[int]) -> Work | None:
        """Take the next retry that is due. Those of `active` are not stored as they are, and are left out."""
        if not self._loaded and self.due_us is not None and self.due_us <= self._deps.now_us():
            await self._load(endpoint, active)
        return self._loaded.popleft() if self._loaded else None

    async def _load(self, endpoint: Endpoint, active: Collection[int]) -> None:
        # What is recorded while this reads calls `schedule`.
        self.due_us = None
        try:
            await self._find_due(endpoint, active)
        except BaseException:
            self.due_us = 0
            raise

    async def _find_due(self, endpoint: Endpoint, active: Collection[int]) -> None:
        in_order = endpoint.is_ordered
        limit = 1 if in_order else PAGE_ROWS + len(active)
        left_out = set(active)
        found = await self._deps.deliveries.find_pending(endpoint.id, limit=limit, in_order=in_order)
        now_us = self._deps.now_us()
        waiting = [each for each in found if each.sequence not in left_out]
        due = [each for each in waiting if (each.due_us or 0) <= now_us]
        later_us = [each.due_us or 0 for each in waiting if each not in due]
        await self._add(endpoint, due)
        if later_us:
            self.schedule(min(later_us))
        elif len(found) == limit:
            self.schedule(now_us)

    async def _add(self, endpoint: Endpoint, due: Sequence[Delivery]) -> None:
        lacking = [each.sequence for each in due if each.body is None]
        found = await self._deps.feed.read_many(endpoint.site, lacking) if lacking else ()
        events = {event.sequence: event for event in found}
        works, expired = [], []
        for each in due:
            event = events.get(each.sequence)
            if each.body is not None:
                event = FeedEvent(each.sequence, each.event, each.type, each.body)
            if event is None:
                expired.append(replace(each, state=DeliveryState.FAILED, due_us=None))
            else:
                works.append(Work(event=event, delivery=each))
        if expired:
            await self._deps.deliveries.save(expired, added_tries=0)
        self._loaded.extend(works)


class ReplayedEvents:
    """The events of the endpoint's replay, if one runs. `is_changed`: it has come further than what is stored."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._loaded: deque[Work] = deque()
        self.reader: ReplayReader | None = None
        self.is_changed = False
        self._ended: str | None = None

    def follow(self, replay: Replay | None) -> bool:
        """Begin with another replay, or with none; False if that is so already."""
        if replay is not None and replay.id == self._ended:
            # It was read before its end was stored.
            replay = None
        running = self.reader.replay.id if self.reader else None
        if (replay.id if replay else None) == running:
            return False
        self._loaded.clear()
        self.reader = ReplayReader(replay) if replay else None
        # Without any event, or if the process died before it stored the end.
        self.is_changed = self.reader is not None and self.reader.has_read_all()
        return True

    def end(self, reader: ReplayReader) -> None:
        """The end of the replay is stored: it does not run again."""
        self._ended = reader.replay.id
        if self.reader is reader:
            self.follow(None)

    def close(self, work: Work, outcome: Outcome | None) -> None:
        """The event is recorded, or on its way as part of something else."""
        if self.reader is not None and work.replay == self.reader.replay.id:
            self.reader.close(work.event.sequence, outcome)
            self.is_changed = True

    async def next(self, endpoint: Endpoint) -> Work | None:
        """Take the next event."""
        while not self._loaded and self.reader is not None and not self.reader.has_read_all():
            await self._load(endpoint, self.reader)
        return self._loaded.popleft() if self._loaded else None

    async def _load(self, endpoint: Endpoint, reader: ReplayReader) -> None:
        replay = reader.replay
        types = () if replay.end - replay.start == 1 else tuple(sorted(endpoint.types))
        page = await self._deps.feed.read(
            FeedQuery(site=replay.site, after=reader.read_to, rows=PAGE_ROWS, types=types)
        )
        events = [event for event in page if event.sequence <= replay.end]
        delivered: Collection[int] = ()
        if replay.only_failed and events:
            sequences = [event.sequence for event in events]
            delivered = await self._deps.deliveries.find_delivered(endpoint.id, sequences)
        if self.reader is not reader:
            # Stopped meanwhile.
            return
        wanted = [event for event in events if event.sequence not in delivered]
        read_to = events[-1].sequence if len(events) == PAGE_ROWS else replay.end
        reader.add([event.sequence for event in wanted], read_to=read_to, skipped=len(delivered))
        self.is_changed = True
        self._loaded.extend(first_try(endpoint, event, replay=replay.id) for event in wanted)
