"""What cannot be processed: kept whole, with the reason and where it came from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.chassis import metrics
from services.chassis.producer import Outgoing, Producer

DEAD_LETTERS = metrics.counter("dead_letters_total", "Records that could not be processed.", ["topic", "reason"])

SUFFIX = ".dlq"


class Original(Protocol):
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
    def headers(self) -> Sequence[tuple[str, bytes]]:
        """Its headers."""
        ...


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that was given up: `reason` is a stable word, `detail` says it in words without quoting the record."""

    record: Original
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
            await self._producer.send_by_key(topic + SUFFIX, map(self._outgoing, lot))
            # Counted once they are there: after `Away` the same ones come again.
            for letter in lot:
                DEAD_LETTERS.labels(topic, letter.reason).inc()

    def _outgoing(self, letter: DeadLetter) -> Outgoing:
        record = letter.record
        provenance = {
            "dlq.reason": letter.reason,
            "dlq.detail": letter.detail,
            "dlq.original-topic": record.topic,
            "dlq.original-partition": str(record.partition),
            "dlq.original-offset": str(record.offset),
            "dlq.original-timestamp": str(record.timestamp),
            "dlq.consumer-group": self._group,
            "dlq.attempts": str(letter.attempts),
        }
        kept: Sequence[tuple[str, bytes]] = [(name, value) for name, value in record.headers if name not in provenance]
        added = [(name, value.encode()) for name, value in provenance.items()]
        return Outgoing(record.key, record.value, (*kept, *added))
