"""Ports of the flows. Unless stated otherwise, every call raises `UnavailableError`."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from enum import Enum
from typing import Protocol

from services.webhooks.domain.delivery import Delivery, Outcome
from services.webhooks.domain.endpoint import DisabledReason, Endpoint, Progress, SealedSecret
from services.webhooks.domain.event import FeedEvent, FeedQuery, Head, NewEvent
from services.webhooks.domain.leases import Leases
from services.webhooks.domain.replay import Replay


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

    async def read_many(self, site: int, sequences: Collection[int]) -> Sequence[FeedEvent]:
        """Those of the events that are still kept."""

    async def find_event(self, site: int, event_id: str) -> FeedEvent | None:
        """The event with this id, if it is the site's and still kept."""

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


class EndpointStore(Protocol):
    """Stores endpoints."""

    async def add(self, endpoint: Endpoint) -> bool:
        """Store a new endpoint; False if its site has as many as it may have."""

    async def find(self, site: int, endpoint_id: str) -> Endpoint | None:
        """The site's endpoint."""

    async def list_endpoints(self, site: int) -> Sequence[Endpoint]:
        """The site's endpoints, the oldest first."""

    async def replace(self, before: Endpoint, after: Endpoint, *, events: Sequence[NewEvent] = ()) -> bool:
        """Change what its owner may change, and add events about it; False if it has changed meanwhile."""

    async def delete(self, site: int, endpoint_id: str) -> bool:
        """Delete the endpoint; False if there is none."""

    async def save_progress(self, endpoint_id: str, owner: str, progress: Progress) -> bool:
        """Store the progress; False if the endpoint is not the owner's any more."""

    async def disable(
        self, endpoint: Endpoint, reason: DisabledReason, *, at_us: int, events: Sequence[NewEvent], mail: bool
    ) -> bool:
        """Disable an enabled endpoint, and add events about it; False if it is disabled already."""


class LeaseStore(Protocol):
    """Shares endpoints among processes: each sends to those that it has leased. Leases expire unless renewed."""

    async def claim(self, owner: str, *, lease_us: int) -> Leases:
        """Renew the owner's leases, and lease enabled endpoints that no other process has, up to the owner's share."""

    async def release(self, owner: str, endpoint_ids: Collection[str]) -> None:
        """End the owner's leases of these endpoints, so that another process may lease them."""

    async def leave(self, owner: str) -> None:
        """End all leases of the owner, whose process stops."""


class DeliveryStore(Protocol):
    """Stores deliveries."""

    async def save(self, deliveries: Sequence[Delivery], *, added_tries: int = 1) -> None:
        """Store the states of deliveries, and add the last `added_tries` tries of each to those stored before."""

    async def find_pending(self, endpoint_id: str, *, limit: int, in_order: bool = False) -> Sequence[Delivery]:
        """Pending deliveries, the next due first; `in_order`, by their sequence."""

    async def find_delivered(self, endpoint_id: str, sequences: Collection[int]) -> Collection[int]:
        """Those of the sequences that were delivered."""

    async def find_page(self, endpoint_id: str, *, before: int | None, rows: int) -> Sequence[Delivery]:
        """Deliveries before a sequence, the newest event first, and one more."""


class ReplayStore(Protocol):
    """Stores replays."""

    async def add(self, replay: Replay) -> bool:
        """Store a new replay; False if another one of the endpoint runs."""

    async def find(self, endpoint_id: str, replay_id: str) -> Replay | None:
        """The endpoint's replay."""

    async def find_running(self, endpoint_ids: Collection[str]) -> Sequence[Replay]:
        """The running replays of these endpoints."""

    async def save_progress(self, replay: Replay) -> bool:
        """Store the progress of a running replay; False if it was stopped."""

    async def stop(self, endpoint_id: str, replay_id: str) -> bool:
        """Stop a running replay; False if it does not run."""


class SecretSealer(Protocol):
    """Encrypts the secrets of endpoints; raises nothing but what a wrong key raises."""

    def seal(self, endpoint_id: str, secret: bytes) -> SealedSecret:
        """Encrypt a secret."""

    def open(self, endpoint_id: str, sealed: SealedSecret) -> bytes:
        """Decrypt a secret."""


class Transport(Protocol):
    """Sends requests to endpoints; raises nothing."""

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Send one request; whatever happens is the outcome."""
