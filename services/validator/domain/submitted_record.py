"""Records as they were submitted: from Kafka, by ingest or by anyone."""

from collections.abc import Sequence
from typing import NamedTuple

Headers = Sequence[tuple[str, bytes | None]]


class SubmittedRecord(NamedTuple):
    """One record as it was read: `kind` is that of its topic, orders or returns; `timestamp` is in milliseconds."""

    kind: str
    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class DeadLetterReason(NamedTuple):
    """Why a record cannot be judged: `reason` is a stable word, `detail` quotes nothing of the record."""

    code: str
    detail: str
