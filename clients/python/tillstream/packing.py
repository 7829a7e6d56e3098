"""Packs records into requests, by number and by compressed size."""

import gzip
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tillstream.models import Limits
from tillstream.sources.records import LocalFault, SourceRecord

# Fast, and nearly as small: records resemble each other.
_LEVEL = 3


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one request, `first` to `first + count - 1`; `body` is gzipped JSON."""

    first: int
    count: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Unsent:
    """A record that is not sent, and why."""

    number: int
    fault: LocalFault


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one request may hold."""

    records: int = 100
    bytes: int = 102_400
    inflated_bytes: int = 4_194_304

    @classmethod
    def of(cls, limits: Limits, *, records_per_second: int) -> "Bounds":
        """Return the bounds that the server states; full requests use up what may be sent in a second."""
        most = min(limits.records_per_request, records_per_second)
        requests = -(-records_per_second // most)
        records = records_per_second // requests
        return cls(records, limits.bytes_per_request, limits.inflated_bytes_per_request)


def pack(records: Iterable[SourceRecord], bounds: Bounds) -> Iterator[Batch | Unsent]:
    """Yield batches of consecutive records, as full as the bounds allow, and the records that cannot be sent."""
    pending: list[SourceRecord] = []
    size = 2
    for record in records:
        is_full = len(pending) == bounds.records or size + len(record.json) + 1 > bounds.inflated_bytes
        if pending and (is_full or record.fault is not None):
            yield from _compress(pending, bounds)
            pending, size = [], 2
        if record.fault is not None:
            yield Unsent(record.number, record.fault)
            continue
        pending.append(record)
        size += len(record.json) + 1
    if pending:
        yield from _compress(pending, bounds)


def _compress(records: Sequence[SourceRecord], bounds: Bounds) -> Iterator[Batch | Unsent]:
    """Yield one batch; several if it is too large when compressed."""
    text = b"[" + b",".join([record.json for record in records]) + b"]"
    body = gzip.compress(text, _LEVEL, mtime=0)
    if len(body) <= bounds.bytes and len(text) <= bounds.inflated_bytes:
        yield Batch(records[0].number, len(records), body)
    elif len(records) == 1:
        message = f"the record takes {len(body)} bytes compressed; at most {bounds.bytes} can be sent"
        yield Unsent(records[0].number, LocalFault("TOO_LARGE", "", message))
    else:
        half = len(records) // 2
        yield from _compress(records[:half], bounds)
        yield from _compress(records[half:], bounds)
