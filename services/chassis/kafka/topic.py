"""Declaration of a Kafka topic, from which it is created, documented and access-controlled."""

from dataclasses import dataclass
from enum import StrEnum

DAY_MS = 86_400_000
# An hour less than a day: brokers look for expired segments every five minutes, and delete them a minute later.
SEGMENT_MS = 23 * 3_600_000


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

    Kafka deletes a segment of records when the last one of them has expired, so a record may outlive `retention_days`
    by the age of a segment, a week by default. With `deletes_in_time`, none does.
    """

    name: str
    key: tuple[str, ...]
    schema: str | None
    written_by: tuple[str, ...]
    read_by: tuple[str, ...]
    cleanup: Cleanup = Cleanup.DELETE
    retention_days: int | None = 7
    deletes_in_time: bool = False
    partitions: int | None = None
    max_message_bytes: int = 1_048_588
    description: str = ""

    @property
    def config(self) -> dict[str, str]:
        """The topic's configuration, as `CreateTopics` takes it."""
        return {
            "cleanup.policy": str(self.cleanup),
            **self._retention,
            "max.message.bytes": str(self.max_message_bytes),
            # Records are judged and retained by the brokers' clock, never by that of a producer.
            "message.timestamp.type": "LogAppendTime",
        }

    @property
    def _retention(self) -> dict[str, str]:
        if self.retention_days is None:
            return {"retention.ms": "-1"}
        if not self.deletes_in_time:
            return {"retention.ms": str(self.retention_days * DAY_MS)}
        return {"retention.ms": str((self.retention_days - 1) * DAY_MS), "segment.ms": str(SEGMENT_MS)}
