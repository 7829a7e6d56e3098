"""Dead letters: records that cannot be processed, kept whole with the reason and their origin."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from aiokafka import ConsumerRecord

from services.chassis.kafka.producer import (
    MAX_BATCH_BYTES,
    Headers,
    Producer,
    ProducerRecord,
    RecordTooLargeError,
    to_headers,
)
from services.chassis.runtime import metrics

DEAD_LETTERS = metrics.counter("dead_letters_total", "Records that could not be processed.", ["topic", "reason"])

SUFFIX = ".dlq"
PREFIX = "dlq."
REASON = "dlq.reason"
DETAIL = "dlq.detail"
ORIGINAL_TOPIC = "dlq.original-topic"
ORIGINAL_PARTITION = "dlq.original-partition"
ORIGINAL_OFFSET = "dlq.original-offset"
ORIGINAL_TIMESTAMP = "dlq.original-timestamp"
CONSUMER_GROUP = "dlq.consumer-group"
ATTEMPTS = "dlq.attempts"
# The size of a record that was too large to be kept whole.
TRUNCATED = "dlq.truncated"

# Compression lets a record be far larger than any batch. Of such a record, and of its headers, this much is kept:
MAX_DEAD_LETTER_BYTES = MAX_BATCH_BYTES - 64 * 1024
TRUNCATED_VALUE_BYTES = 1024 * 1024
TRUNCATED_HEADERS_BYTES = 64 * 1024
# Bytes of a header besides name and value: compression allows millions of headers that have neither.
_HEADER_OVERHEAD = 8
# Bound for key, value and headers each that fits into any topic, one with Kafka's default of a megabyte included.
SMALL_LETTER_BYTES = 64 * 1024
# A producer whose batch the broker refused reconnects, and is unavailable meanwhile.
RECONNECT_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that was given up. `reason` is a stable word; `detail` explains it without quoting the record."""

    record: ConsumerRecord
    reason: str
    detail: str
    attempts: int = 1


def dead_positions(decoded: Sequence[object]) -> list[int]:
    """Return the positions of the dead letters among decoded records."""
    return [position for position, item in enumerate(decoded) if isinstance(item, DeadLetter)]


class DeadLetterSender(Protocol):
    """Sends dead letters; see `DeadLetters`."""

    async def send(self, letters: Iterable[DeadLetter]) -> None:
        """Return when all are acknowledged; raises `UnavailableError`."""


class DeadLetters:
    """Sends each dead letter to `<topic>.dlq`."""

    def __init__(self, producer: Producer, *, group: str) -> None:
        self._producer = producer
        self._group = group

    async def send(self, letters: Iterable[DeadLetter]) -> None:
        """Return when all are acknowledged; raises `UnavailableError`."""
        by_topic: dict[str, list[DeadLetter]] = {}
        for letter in letters:
            by_topic.setdefault(letter.record.topic, []).append(letter)
        for topic, batch in by_topic.items():
            try:
                await self._producer.send_by_key(topic + SUFFIX, map(self._to_record, batch))
            except RecordTooLargeError:
                # The topic's limit is lower than assumed. Some letters may have been sent: those appear twice.
                await self._producer.wait_ready(RECONNECT_TIMEOUT_S)
                await self._producer.send_by_key(topic + SUFFIX, map(self._to_small_record, batch))
            # Counted once acknowledged: after `UnavailableError` the same letters are sent again.
            for letter in batch:
                DEAD_LETTERS.labels(topic, letter.reason).inc()

    def _to_small_record(self, letter: DeadLetter) -> ProducerRecord:
        return self._to_record(letter, max_bytes=SMALL_LETTER_BYTES, truncated_bytes=SMALL_LETTER_BYTES)

    def _to_record(
        self,
        letter: DeadLetter,
        *,
        max_bytes: int = MAX_DEAD_LETTER_BYTES,
        truncated_bytes: int = TRUNCATED_VALUE_BYTES,
    ) -> ProducerRecord:
        record = letter.record
        size = _size(record)
        provenance = {
            REASON: letter.reason,
            DETAIL: letter.detail,
            ORIGINAL_TOPIC: record.topic,
            ORIGINAL_PARTITION: str(record.partition),
            ORIGINAL_OFFSET: str(record.offset),
            ORIGINAL_TIMESTAMP: str(record.timestamp),
            CONSUMER_GROUP: self._group,
            ATTEMPTS: str(letter.attempts + _previous_attempts(record)),
        }
        # The record's producer may have set headers with our prefix.
        original = tuple((name, value) for name, value in record.headers if not name.startswith(PREFIX))
        if size + _HEADER_OVERHEAD * len(original) <= max_bytes:
            return ProducerRecord(record.key, record.value, (*original, *to_headers(provenance)))
        added = to_headers({**provenance, TRUNCATED: str(size)})
        key, value = (record.key or b"")[:truncated_bytes], (record.value or b"")[:truncated_bytes]
        return ProducerRecord(key, value, (*_truncate(original), *added))


def _size(record: ConsumerRecord) -> int:
    headers = sum(len(name) + len(value or b"") for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers


def _truncate(headers: Headers) -> Headers:
    """Return the first headers, up to `TRUNCATED_HEADERS_BYTES`."""
    kept: list[tuple[str, bytes | None]] = []
    remaining = TRUNCATED_HEADERS_BYTES
    for name, value in headers:
        remaining -= len(name) + len(value or b"") + _HEADER_OVERHEAD
        if remaining < 0:
            break
        kept.append((name, value))
    return tuple(kept)


def _previous_attempts(record: ConsumerRecord) -> int:
    """Return how often a replayed record was dead-lettered before."""
    attempts = dict(record.headers).get(ATTEMPTS) or b""
    return int(attempts) if attempts.isdigit() and len(attempts) < 6 else 0
