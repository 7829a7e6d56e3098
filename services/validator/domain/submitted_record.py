"""Submitted records, as read from Kafka."""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct

Headers = Sequence[tuple[str, bytes | None]]


class SubmittedRecord(Struct, frozen=True, gc=False):
    """A record by ingest or any other producer: `kind` is orders or returns, `timestamp` is in milliseconds.

    `is_broker_time` is whether the timestamp is from the broker that appended the record, or from its producer.
    """

    kind: str
    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    is_broker_time: bool = False


class DeadLetterReason(NamedTuple):
    """Why a record cannot be judged: a stable `code`, and a `detail` that quotes nothing of the record."""

    code: str
    detail: str
