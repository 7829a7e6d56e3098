"""A producer of the simulated Kafka cluster with aiokafka's interface."""

import asyncio
from collections import deque
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    ProducerClosed,
    UnknownTopicOrPartitionError,
)

from services.chassis.kafka.encoded_batch import EncodedBatch
from services.chassis.kafka.record_format import read_records
from tests.simulation.broker import Batch, Cluster, Entry
from tests.simulation.network import ANSWER, REQUEST, LostError, Network
from tests.simulation.virtual_time import true_time_s

SERVER = "kafka"
RETRY_S = 0.1
RECORD_OVERHEAD = 32


class BatchBuilder:
    """Collects the records of a batch, up to the producer's maximum size."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._size = 61
        self.entries: list[Entry] = []

    def size(self) -> int:
        return self._size

    def append(self, *, key: bytes | None, value: bytes | None, timestamp: int | None, headers: Any = ()) -> Any:
        del timestamp
        size = len(key or b"") + len(value or b"") + RECORD_OVERHEAD
        size += sum(len(name) + len(content or b"") + 8 for name, content in headers)
        if self._size + size > self._max_bytes:
            return None
        self._size += size
        self.entries.append(Entry(key, value, tuple(headers)))
        return SimpleNamespace(size=size)

    def close(self) -> None:
        """Take no more records."""


def _entries(batch: BatchBuilder | EncodedBatch) -> list[Entry]:
    if isinstance(batch, BatchBuilder):
        return batch.entries
    records = read_records(batch.records, batch.record_count(), base_offset=0, base_timestamp=0, append_timestamp=None)
    return [Entry(record.key, record.value, tuple(record.headers)) for record in records]


@dataclass
class _Queued:
    batch: Batch
    acknowledged: "asyncio.Future[Any]"
    expires_at: float


class SimulatedProducer:
    """Sends batches in order, and again until they are acknowledged or expire."""

    cluster: Cluster
    network: Network

    def __init__(self, **options: Any) -> None:
        self._is_idempotent = bool(options.get("enable_idempotence"))
        self._waits_for_replicas = options.get("acks") in ("all", -1)
        self._timeout_s = options["request_timeout_ms"] / 1000
        self._max_bytes = options.get("max_request_size", 1024 * 1024)
        self._id = 0
        self._sequences: dict[TopicPartition, int] = {}
        self._queues: dict[TopicPartition, deque[_Queued]] = {}
        self._senders: dict[TopicPartition, asyncio.Task[None]] = {}
        self._is_closed = False
        self.client = _Client(self)
        self._message_accumulator = _Accumulator(self)
        self._sender = SimpleNamespace(sender_task=None)

    async def start(self) -> None:
        await round_trip(self.network)
        self._id = self.cluster.new_producer()

    async def stop(self) -> None:
        """Send what is queued, and close."""
        self._is_closed = True
        if self._senders:
            await asyncio.wait(list(self._senders.values()))

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    def fail_all(self, error: Exception) -> None:
        self._is_closed = True
        for queue in self._queues.values():
            for queued in queue:
                if not queued.acknowledged.done():
                    queued.acknowledged.set_exception(error)
            queue.clear()
        for sender in list(self._senders.values()):
            sender.cancel()

    def create_batch(self) -> BatchBuilder:
        return BatchBuilder(self._max_bytes)

    async def partitions_for(self, topic: str) -> set[int]:
        await round_trip(self.network)
        found = set(self.cluster.partitions_of(topic))
        if not found:
            raise UnknownTopicOrPartitionError
        return found

    async def send(
        self, topic: str, *, value: bytes | None, key: bytes | None, partition: int, headers: Any
    ) -> "asyncio.Future[Any]":
        builder = self.create_batch()
        if builder.append(key=key, value=value, timestamp=None, headers=headers) is None:
            raise MessageSizeTooLargeError
        return await self.send_batch(builder, topic, partition=partition)

    async def send_batch(
        self, builder: BatchBuilder | EncodedBatch, topic: str, *, partition: int
    ) -> "asyncio.Future[Any]":
        if self._is_closed:
            raise ProducerClosed
        return self.queue_batch(builder, TopicPartition(topic, partition))

    def queue_batch(self, builder: BatchBuilder | EncodedBatch, where: TopicPartition) -> "asyncio.Future[Any]":
        sequence = None
        if self._is_idempotent:
            sequence = self._sequences[where] = self._sequences.get(where, -1) + 1
        loop = asyncio.get_running_loop()
        queued = _Queued(
            Batch(self._id, sequence, tuple(_entries(builder))), loop.create_future(), loop.time() + self._timeout_s
        )
        self._queues.setdefault(where, deque()).append(queued)
        sender = self._senders.get(where)
        if sender is None or sender.done():
            self._senders[where] = asyncio.create_task(self._send_queued(where))
        return queued.acknowledged

    async def _send_queued(self, where: TopicPartition) -> None:
        queue = self._queues[where]
        while queue:
            queued = queue[0]
            try:
                offset = await self._send(where, queued)
            except KafkaError as error:
                if not queued.acknowledged.done():
                    queued.acknowledged.set_exception(error)
            else:
                if not queued.acknowledged.done():
                    queued.acknowledged.set_result(SimpleNamespace(offset=offset))
            if queue:
                queue.popleft()

    async def _send(self, where: TopicPartition, queued: _Queued) -> int:
        loop = asyncio.get_running_loop()
        while True:
            try:
                await self.network.travel(SERVER, REQUEST)
                offset = await self.cluster.append(where, queued.batch, waits_for_replicas=self._waits_for_replicas)
                await self.network.travel(SERVER, ANSWER)
            except LostError:
                pass
            except KafkaError as error:
                if not error.retriable:
                    raise
            else:
                return offset
            if loop.time() >= queued.expires_at:
                raise KafkaTimeoutError
            await asyncio.sleep(RETRY_S)


class _Accumulator:
    """What the patches of aiokafka use of a producer's accumulator."""

    _exception = None

    def __init__(self, producer: SimulatedProducer) -> None:
        self._producer = producer
        self.fail_all = producer.fail_all

    @property
    def _closed(self) -> bool:
        return self._producer.is_closed

    def _append_batch(self, batch: EncodedBatch, partition: TopicPartition) -> Any:
        return SimpleNamespace(future=self._producer.queue_batch(batch, partition))


class _Client:
    """What a producer's client offers beside batches."""

    def __init__(self, producer: SimulatedProducer) -> None:
        self._producer = producer
        self.cluster = SimpleNamespace(
            partitions_for_topic=self._partitions, leader_for_partition=lambda _partition: self.get_random_node()
        )

    def _partitions(self, topic: str) -> set[int] | None:
        return set(self._producer.cluster.partitions_of(topic)) or None

    async def add_topic(self, _topic: str) -> None:
        """Do nothing: all topics are known."""

    def get_random_node(self) -> int:
        return 0

    async def send(self, _node: int, _request: Any, *, group: Any = None) -> Any:
        """Answer the only request in use: DescribeQuorum, for the brokers' time."""
        del group
        await round_trip(self._producer.network)
        now_ms = int(true_time_s() * 1000)
        voter = {"replica_id": 0, "last_fetch_timestamp": now_ms}
        partition = {"error_code": 0, "leader_id": 0, "current_voters": [voter]}
        response = {"error_code": 0, "topics": [{"partitions": [partition]}]}
        return SimpleNamespace(to_object=lambda: response)

    async def close(self) -> None:
        """Do nothing: there are no connections."""


async def round_trip(network: Network) -> None:
    """Ask a broker and get its answer; raises `KafkaConnectionError`."""
    try:
        await network.travel(SERVER, REQUEST)
        await network.travel(SERVER, ANSWER)
    except LostError:
        raise KafkaConnectionError("connection closed") from None
