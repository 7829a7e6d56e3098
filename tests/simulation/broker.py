"""A simulated Kafka cluster: partitions of record batches, idempotent producers, consumer groups, retention.

A batch is appended by the leader, and committed once all in-sync replicas have it; consumers see committed batches
only. When the leader changes, batches that were not committed are lost or kept.
"""

import asyncio
import contextvars
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import (
    MessageSizeTooLargeError,
    NotEnoughReplicasError,
    NotLeaderForPartitionError,
    OutOfOrderSequenceNumber,
    ProducerFenced,
    UnknownTopicOrPartitionError,
)

from tests.simulation.groups import Group
from tests.simulation.virtual_time import true_time_s

REPLICATION_S = (0.0005, 0.004)
LOG_APPEND_TIME = 1
# Of a producer's batches, the last ones are recognised when they come again.
REMEMBERED_BATCHES = 5


class Entry(NamedTuple):
    """A record of a batch."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True)
class Batch:
    """A batch as a producer sends it. Without a sequence number the broker cannot recognise it when it comes again."""

    producer: int
    sequence: int | None
    entries: tuple[Entry, ...]


@dataclass
class Partition:
    """A partition's log. Offsets below `begin` are deleted, those from `committed` on are not replicated yet."""

    topic: str
    number: int
    records: list[ConsumerRecord] = field(default_factory=list)
    begin: int = 0
    committed: int = 0
    epoch: int = 0
    # The sequence numbers of each producer's last batches, and the ends of those batches.
    last: dict[int, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    # The batches that are not committed: end, producer, and the producer's state before.
    uncommitted: list[tuple[int, int, tuple[tuple[int, int], ...]]] = field(default_factory=list)
    waiters: list[tuple[int, asyncio.Future[None]]] = field(default_factory=list)

    @property
    def end(self) -> int:
        """The next offset."""
        return self.begin + len(self.records)

    def read(self, offset: int, limit: int) -> Sequence[ConsumerRecord]:
        """Committed records from this offset on."""
        return self.records[offset - self.begin : min(self.committed - self.begin, offset - self.begin + limit)]


class Cluster:
    """All topics and groups."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.partitions: dict[TopicPartition, Partition] = {}
        self.groups: dict[str, Group] = {}
        self.max_bytes: dict[str, int] = {}
        self._producers = self._members = 0
        self.fenced: set[int] = set()
        # Until when batches cannot be replicated.
        self.too_few_replicas_until = 0.0
        # Called with the group and the offsets of each commit.
        self.on_commit: Callable[[str, Mapping[TopicPartition, int]], None] = lambda _group, _offsets: None
        self._readers: list[asyncio.Event] = []

    def create_topic(self, name: str, partitions: int, *, max_bytes: int = 8 * 1024 * 1024) -> None:
        """Create a topic."""
        self.max_bytes[name] = max_bytes
        for number in range(partitions):
            self.partitions[TopicPartition(name, number)] = Partition(name, number)

    def partitions_of(self, topic: str) -> list[int]:
        """The numbers of a topic's partitions."""
        return [found.partition for found in self.partitions if found.topic == topic]

    def partition(self, where: TopicPartition) -> Partition:
        """Return the partition; raises `UnknownTopicOrPartitionError`."""
        if where not in self.partitions:
            raise UnknownTopicOrPartitionError
        return self.partitions[where]

    def group(self, name: str) -> Group:
        """Return the group."""
        if name not in self.groups:
            self.groups[name] = Group(name, self.partitions_of)
        return self.groups[name]

    def new_producer(self) -> int:
        """Return an id for a producer."""
        self._producers += 1
        return self._producers

    def new_member_name(self, client_id: str) -> str:
        """Return a name that no member has had."""
        self._members += 1
        return f"{client_id}-{self._members:06d}"

    async def append(self, where: TopicPartition, batch: Batch, *, waits_for_replicas: bool) -> int:
        """Append the batch once, return its first offset when it is committed; raises aiokafka's errors."""
        partition = self.partition(where)
        if batch.producer in self.fenced:
            raise ProducerFenced
        if sum(len(e.value or b"") + len(e.key or b"") for e in batch.entries) > self.max_bytes[where.topic]:
            raise MessageSizeTooLargeError
        if waits_for_replicas and asyncio.get_running_loop().time() < self.too_few_replicas_until:
            raise NotEnoughReplicasError
        end = self._append(partition, batch)
        if waits_for_replicas and partition.committed < end:
            future = asyncio.get_running_loop().create_future()
            partition.waiters.append((end, future))
            await future
        return end - len(batch.entries)

    def _append(self, partition: Partition, batch: Batch) -> int:
        before = partition.last.get(batch.producer, ())
        if batch.sequence is not None and before:
            known = dict(before)
            if batch.sequence in known:
                return known[batch.sequence]
            if batch.sequence != before[-1][0] + 1:
                raise OutOfOrderSequenceNumber
        now_ms = int(true_time_s() * 1000)
        for entry in batch.entries:
            partition.records.append(_record(partition, entry, now_ms))
        if batch.sequence is not None:
            partition.last[batch.producer] = (*before, (batch.sequence, partition.end))[-REMEMBERED_BATCHES:]
        partition.uncommitted.append((partition.end, batch.producer, before))
        self._replicate(partition)
        return partition.end

    def _replicate(self, partition: Partition) -> None:
        loop, (low, high) = asyncio.get_running_loop(), REPLICATION_S
        at = max(loop.time(), self.too_few_replicas_until) + low + (high - low) * self._rng.random()
        # In no process's context: a batch goes on when its producer has died.
        loop.call_at(at, self._commit, partition, partition.end, partition.epoch, context=contextvars.Context())

    def _commit(self, partition: Partition, end: int, epoch: int) -> None:
        loop = asyncio.get_running_loop()
        if epoch != partition.epoch or end <= partition.committed:
            return
        if loop.time() < self.too_few_replicas_until:
            loop.call_at(self.too_few_replicas_until + 0.001, self._commit, partition, end, epoch)
            return
        partition.committed = end
        partition.uncommitted = [each for each in partition.uncommitted if each[0] > end]
        waiting, partition.waiters = partition.waiters, []
        for needed, future in waiting:
            if needed > end:
                partition.waiters.append((needed, future))
            elif not future.done():
                future.set_result(None)
        self.wake_readers()

    def change_leader(self, where: TopicPartition) -> None:
        """Elect another leader, which may lack batches that were not committed."""
        partition = self.partitions[where]
        partition.epoch += 1
        kept = self._rng.randint(0, len(partition.uncommitted))
        for _, producer, before in reversed(partition.uncommitted[kept:]):
            partition.last[producer] = before
        del partition.uncommitted[kept:]
        end = partition.uncommitted[-1][0] if partition.uncommitted else partition.committed
        del partition.records[end - partition.begin :]
        waiting, partition.waiters = partition.waiters, []
        for _, future in waiting:
            if not future.done():
                future.set_exception(NotLeaderForPartitionError())
        if partition.uncommitted:
            self._replicate(partition)

    def fence_all(self) -> None:
        """Refuse all batches of the producers that exist now."""
        self.fenced.update(range(1, self._producers + 1))

    def delete_before(self, where: TopicPartition, offset: int) -> None:
        """Delete records, as retention does."""
        partition = self.partitions[where]
        offset = min(offset, partition.committed)
        if offset > partition.begin:
            del partition.records[: offset - partition.begin]
            partition.begin = offset

    def publish(self, topic: str, key: bytes | None, value: bytes | None, *, partition: int = 0) -> None:
        """Append a committed record, as a producer outside the simulation does."""
        target = self.partitions[TopicPartition(topic, partition)]
        target.records.append(_record(target, Entry(key, value, ()), int(true_time_s() * 1000)))
        target.committed = target.end
        self.wake_readers()

    def watch(self, event: asyncio.Event) -> None:
        """Set the event whenever records are committed."""
        self._readers.append(event)

    def unwatch(self, event: asyncio.Event) -> None:
        """Stop setting the event."""
        if event in self._readers:
            self._readers.remove(event)

    def wake_readers(self) -> None:
        """Let consumers look for records."""
        for event in self._readers:
            event.set()

    def all_records(self, topic: str) -> list[ConsumerRecord]:
        """All committed records of a topic, for checks."""
        return [
            record
            for where, partition in self.partitions.items()
            if where.topic == topic
            for record in partition.records[: partition.committed - partition.begin]
        ]


def _record(partition: Partition, entry: Entry, now_ms: int) -> ConsumerRecord:
    return ConsumerRecord(
        topic=partition.topic,
        partition=partition.number,
        offset=partition.end,
        timestamp=now_ms,
        timestamp_type=LOG_APPEND_TIME,
        key=entry.key,
        value=entry.value,
        checksum=None,
        serialized_key_size=len(entry.key or b""),
        serialized_value_size=len(entry.value or b""),
        headers=entry.headers,
    )
