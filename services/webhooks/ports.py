"""Ports of the flows. Unless stated otherwise, every call raises `UnavailableError`."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from enum import Enum
from typing import Protocol

from services.webhooks.domain.event import FeedEvent, FeedQuery, Head


class Conflict(Enum):
    """Why an event was not inserted: another one has its sequence, or it is in the feed already."""

    TAKEN = "taken"
    KNOWN = "known"


class FeedWriter(Protocol):
    """Stores feeds. An event is stored only behind one that is stored, so a feed has no holes."""

    async def find_head(self, site: int) -> Head:
        """The last event of the feed, as a majority of the replica set has it."""

    async def insert(self, site: int, events: Sequence[FeedEvent], *, recorded_us: int) -> tuple[int, Conflict | None]:
        """Insert events in order, durably, up to the first conflict; returns how many, and the conflict."""

    async def find_known(self, ids: Collection[str]) -> Collection[str]:
        """Those of the event ids that are in a feed."""

    async def save_heads(self, heads: Mapping[int, Head]) -> None:
        """Raise the stored heads of these sites, durably: a head outlives its event."""


class FeedReader(Protocol):
    """Reads feeds."""

    async def read(self, query: FeedQuery) -> Sequence[FeedEvent]:
        """A page of events, oldest first, as a majority of the replica set has them."""

    async def find_head(self, site: int) -> Head:
        """The last event of the feed."""

    async def find_position(self, site: int, at_us: int) -> int:
        """The sequence after which all events were recorded later than that time."""


class FeedNotifier(Protocol):
    """Wakes those who wait for events of a site."""

    def notify(self, sites: Collection[int]) -> None:
        """There are new events of these sites; raises nothing."""


class Waiter(Protocol):
    """A reader that waits for events of a site."""

    @property
    def is_closed(self) -> bool:
        """Whether the process is stopping, so that nothing follows."""

    async def wait(self, timeout_s: float) -> bool:
        """Return True once there are new events, False after the timeout or when the process is stopping."""


class FeedWaiters(Protocol):
    """Registers readers that wait."""

    def register(self, site: int) -> AbstractAsyncContextManager[Waiter | None]:
        """A waiter, or None if too many wait already. Read the feed after this call, not before."""
