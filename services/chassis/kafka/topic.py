"""Declaration of a Kafka topic, from which it is created, documented and access-controlled."""

from dataclasses import dataclass
from enum import StrEnum


class Cleanup(StrEnum):
    """Cleanup policy of old records."""

    DELETE = "delete"
    COMPACT = "compact"
    COMPACT_DELETE = "compact,delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One topic: its name, schema, retention, producers and consumers.

    `schema` is the stem of a file in `schemas/`; None means the original bytes of another topic (dead letters).
    `key` names the parts of the key, joined by `|`. With `retention_days` None, records are retained forever.
    """

    name: str
    key: tuple[str, ...]
    schema: str | None
    written_by: tuple[str, ...]
    read_by: tuple[str, ...]
    cleanup: Cleanup = Cleanup.DELETE
    retention_days: int | None = 7
    partitions: int | None = None
    max_message_bytes: int = 1_048_588
    description: str = ""

    @property
    def config(self) -> dict[str, str]:
        """The topic's configuration, as `CreateTopics` takes it."""
        retention_ms = -1 if self.retention_days is None else self.retention_days * 86_400_000
        return {
            "cleanup.policy": str(self.cleanup),
            "retention.ms": str(retention_ms),
            "max.message.bytes": str(self.max_message_bytes),
            # Records are judged and retained by the brokers' clock, never by that of a producer.
            "message.timestamp.type": "LogAppendTime",
        }
