"""What a Kafka topic is, for whoever creates, documents or guards it."""

from dataclasses import dataclass
from enum import StrEnum


class Cleanup(StrEnum):
    """What the broker does with old records."""

    DELETE = "delete"
    COMPACT = "compact"
    COMPACT_DELETE = "compact,delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One topic: its name, contract, retention, and who may touch it.

    `schema` is the stem of a file in `schemas/`; None means the original bytes of other topics (dead letters).
    `key` names the parts of the key, joined by `|`. `retention_days` None keeps records for ever.
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
        """The broker's settings for this topic, as `CreateTopics` takes them."""
        retention_ms = -1 if self.retention_days is None else self.retention_days * 86_400_000
        return {
            "cleanup.policy": str(self.cleanup),
            "retention.ms": str(retention_ms),
            "max.message.bytes": str(self.max_message_bytes),
        }
