"""What cannot be processed: kept whole, with the reason and where it came from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.chassis.kafka.producer import MAX_BATCH_BYTES, Headers, Producer, ProducerRecord, RecordTooLargeError
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
# How large the record was, where it did not fit into a letter whole.
TRUNCATED = "dlq.truncated"

# Compression lets a record be far larger than any batch. What is kept of such a one, and of its headers:
MAX_DEAD_LETTER_BYTES = MAX_BATCH_BYTES - 64 * 1024
TRUNCATED_VALUE_BYTES = 1024 * 1024
TRUNCATED_HEADERS_BYTES = 64 * 1024
# What a header takes besides its name and its content; compression lets there be millions that have neither.
_HEADER_OVERHEAD = 8
# Whatever the topic takes, be it Kafka's default of a megabyte, this fits: a key, a value and headers.
SMALL_LETTER_BYTES = 64 * 1024
# A producer whose batch was refused by the broker is replaced, and until then all is away.
RECONNECT_TIMEOUT_S = 5.0


class ConsumedRecord(Protocol):
    """A record as it was read; `timestamp` in milliseconds since 1970."""

    @property
    def topic(self) -> str:
        """Where it was read."""
        ...

    @property
    def partition(self) -> int:
        """Where in the topic."""
        ...

    @property
    def offset(self) -> int:
        """Where in the partition."""
        ...

    @property
    def timestamp(self) -> int:
        """When it was written, as its producer or the broker says."""
        ...

    @property
    def key(self) -> bytes | None:
        """Its key."""
        ...

    @property
    def value(self) -> bytes | None:
        """Its bytes."""
        ...

    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]:
        """Its headers."""
        ...


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that was given up: `reason` is a stable word, `detail` says it in words without quoting the record."""

    record: ConsumedRecord
    reason: str
    detail: str
    attempts: int = 1


class DeadLetters:
    """Takes dead letters to `<topic>.dlq`."""

    def __init__(self, producer: Producer, *, group: str) -> None:
        self._producer = producer
        self._group = group

    async def send(self, letters: Iterable[DeadLetter]) -> None:
        """Return when all are acknowledged; raises `Away`."""
        lots: dict[str, list[DeadLetter]] = {}
        for letter in letters:
            lots.setdefault(letter.record.topic, []).append(letter)
        for topic, lot in lots.items():
            try:
                await self._producer.send_by_key(topic + SUFFIX, map(self._outgoing, lot))
            except RecordTooLargeError:
                # The topic takes less than we thought. Some may be there already; a letter may come twice.
                await self._producer.wait_ready(RECONNECT_TIMEOUT_S)
                await self._producer.send_by_key(topic + SUFFIX, map(self._outgoing_small, lot))
            # Counted once they are there: after `Away` the same ones come again.
            for letter in lot:
                DEAD_LETTERS.labels(topic, letter.reason).inc()

    def _outgoing_small(self, letter: DeadLetter) -> ProducerRecord:
        return self._outgoing(letter, largest=SMALL_LETTER_BYTES, kept=SMALL_LETTER_BYTES)

    def _outgoing(
        self, letter: DeadLetter, *, largest: int = MAX_DEAD_LETTER_BYTES, kept: int = TRUNCATED_VALUE_BYTES
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
            ATTEMPTS: str(letter.attempts + _attempts_before(record)),
        }
        # Whoever wrote the record may have named headers like ours.
        theirs = tuple((name, value) for name, value in record.headers if not name.startswith(PREFIX))
        if size + _HEADER_OVERHEAD * len(theirs) <= largest:
            return ProducerRecord(record.key, record.value, (*theirs, *_encoded(provenance)))
        added = _encoded({**provenance, TRUNCATED: str(size)})
        return ProducerRecord((record.key or b"")[:kept], (record.value or b"")[:kept], (*_first(theirs), *added))


def _encoded(provenance: dict[str, str]) -> Headers:
    return tuple((name, value.encode()) for name, value in provenance.items())


def _size(record: ConsumedRecord) -> int:
    headers = sum(len(name) + len(value or b"") for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers


def _first(headers: Headers) -> Headers:
    kept: list[tuple[str, bytes | None]] = []
    room = TRUNCATED_HEADERS_BYTES
    for name, value in headers:
        room -= len(name) + len(value or b"") + _HEADER_OVERHEAD
        if room < 0:
            break
        kept.append((name, value))
    return tuple(kept)


def _attempts_before(record: ConsumedRecord) -> int:
    """How often a record that was replayed has died already."""
    given = dict(record.headers).get(ATTEMPTS) or b""
    return int(given) if given.isdigit() and len(given) < 6 else 0
