"""Deliveries: what became of an event at an endpoint."""

from collections.abc import Sequence
from enum import StrEnum
from http import HTTPStatus

from msgspec import Struct

MAX_ANSWER_CHARS = 256
# The delivery of the ping that a new endpoint gets.
PING_SEQUENCE = 0


class DeliveryState(StrEnum):
    """A delivery is tried again, or has ended well, or has ended badly and can be replayed."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class Outcome(Struct, frozen=True, kw_only=True):
    """What came of one request: a status, or why there is none. `answer` is the beginning of the response's body."""

    at_us: int
    latency_ms: int
    status: int | None = None
    error: str | None = None
    answer: str = ""
    retry_after_us: int = 0

    @property
    def ended_us(self) -> int:
        """When the request had ended."""
        return self.at_us + self.latency_ms * 1_000

    @property
    def is_success(self) -> bool:
        """Whether the receiver has accepted the event: only 2xx counts."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_gone(self) -> bool:
        """Whether the receiver wants no more events."""
        return self.status == HTTPStatus.GONE


class Delivery(Struct, frozen=True, kw_only=True):
    """An event at an endpoint, and its last tries. `body` only where the event is not in the feed.

    `attempts`: how many tries there were since it was sent for the first time, or was replayed.
    """

    endpoint: str
    site: int
    sequence: int
    event: str
    type: str
    state: DeliveryState = DeliveryState.PENDING
    tries: Sequence[Outcome] = ()
    due_us: int | None = None
    body: str | None = None
    attempts: int = 0
