"""A topic as operators see it: how much is in it, how fast it grows, and how far its consumers are behind."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLag:
    """How far a consumer group is behind; the age is that of its oldest unread record, None without one."""

    group: str
    lag: int
    oldest_unread_us: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionView:
    """One partition: its first offset and the one behind its last record."""

    number: int
    begin: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicView:
    """One declared topic. `records` counts offsets, of which compaction and transactions leave gaps."""

    name: str
    description: str
    exists: bool
    records: int = 0
    records_per_s: float = 0.0
    partitions: Sequence[PartitionView] = ()
    groups: Sequence[GroupLag] = ()
