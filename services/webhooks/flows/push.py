"""What the parts of a sender share: what they may touch, and an event that is to be sent."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from msgspec import Struct

from services.webhooks.domain.circuit import MIN_PAUSE_US
from services.webhooks.domain.delivery import Delivery
from services.webhooks.domain.endpoint import DisabledReason, Endpoint
from services.webhooks.domain.event import FeedEvent
from services.webhooks.domain.retry import RetrySchedule
from services.webhooks.domain.signature import PrivateKey
from services.webhooks.ports import DeliveryStore, EndpointStore, FeedReader, ReplayStore, SecretSealer, Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything that sending may touch. `now_us` is the time of day; `random` returns a number from 0 to 1."""

    feed: FeedReader
    endpoints: EndpointStore
    deliveries: DeliveryStore
    replays: ReplayStore
    secrets: SecretSealer
    transport: Transport
    keys: Sequence[PrivateKey]
    disable: Callable[[Endpoint, DisabledReason], Awaitable[None]]
    now_us: Callable[[], int]
    random: Callable[[], float]
    schedule: RetrySchedule = field(default_factory=RetrySchedule)
    owner: str = "sender"
    max_in_flight: int = 16
    min_circuit_pause_us: int = MIN_PAUSE_US


class Work(Struct, frozen=True, kw_only=True):
    """An event to send: `delivery` has its tries so far; `replay` names the replay that it is part of."""

    event: FeedEvent
    delivery: Delivery
    replay: str | None = None
    is_fresh: bool = False


def first_try(endpoint: Endpoint, event: FeedEvent, *, replay: str | None = None) -> Work:
    """An event of the feed that the endpoint is to get, new or as part of a replay."""
    delivery = Delivery(
        endpoint=endpoint.id, site=endpoint.site, sequence=event.sequence, event=event.id, type=event.type
    )
    return Work(event=event, delivery=delivery, replay=replay, is_fresh=replay is None)
