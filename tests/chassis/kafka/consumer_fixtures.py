"""A topic, a group and a handler, for the tests of the consumer."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from services.chassis.kafka.consumer import Consumer, Offsets, Poll
from services.chassis.runtime.errors import UnavailableError
from tests.chassis.kafka.kafka_fixtures import a_name, committed, make_topics, settings


@dataclass
class RecordingHandler:
    """A handler that records what happened, in order, and fails on demand."""

    handled: list[int] = field(default_factory=list)
    journal: list[str] = field(default_factory=list)
    empty_polls: int = 0
    revoked_partitions: set[TopicPartition] = field(default_factory=set)
    outages: int = 0
    defects: int = 0
    hold: asyncio.Event | None = None
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    on_poll: Callable[[Poll], Offsets | None] = lambda _poll: None
    get_value: Callable[[ConsumerRecord], int] = lambda record: int(record.value or b"-1")

    async def handle(self, poll: Poll) -> Offsets:
        if not poll:
            self.empty_polls += 1
            return self.on_poll(poll) or {}
        values = [self.get_value(record) for records in poll.values() for record in records]
        self.entered.set()
        if self.hold is not None:
            await self.hold.wait()
        if self.outages:
            self.outages -= 1
            self.journal.append(f"away {min(values)}-{max(values)}")
            raise UnavailableError("MongoDB")
        if self.defects:
            self.defects -= 1
            raise KeyError("a defect")
        self.handled += values
        chosen = self.on_poll(poll)
        if chosen is not None:
            return chosen
        return {partition: records[-1].offset + 1 for partition, records in poll.items()}

    def on_revoked(self, partitions: Collection[TopicPartition]) -> None:
        self.revoked_partitions |= set(partitions)
        self.journal.append("revoked")


@dataclass
class Clock:
    """Real time plus an offset."""

    added_s: float = 0.0

    def __call__(self) -> float:
        return asyncio.get_running_loop().time() + self.added_s


class _RawHeaderName(bytes):
    """Bytes that aiokafka writes unchanged."""

    def encode(self, _: str) -> bytes:
        return self


@dataclass(frozen=True)
class ConsumerHarness:
    """A topic and a consumer group on a Kafka."""

    bootstrap: str
    topic: str
    group: str

    async def produce(self, values: Sequence[int], *, partition: int = 0) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap)
        await producer.start()
        batch = producer.create_batch()
        for value in values:
            assert batch.append(key=None, value=b"%d" % value, timestamp=None)
        await (await producer.send_batch(batch, self.topic, partition=partition))
        await producer.stop()

    async def produce_named(self, *names: bytes, codec: int = 0) -> None:
        """One batch of records 0, 1, …, each with a header of that name."""
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap)
        await producer.start()
        batch = producer.create_batch()
        # aiokafka encodes header names; other clients send any bytes.
        batch._builder = _DefaultRecordBatchBuilderPy(2, codec, 0, -1, -1, 0, 1_000_000)
        for number, name in enumerate(names):
            batch._builder.append(number, None, None, b"%0500d" % number, [(_RawHeaderName(name), b"of the header")])
        batch._relative_offset = len(names)
        batch.close()
        await (await producer.send_batch(batch, self.topic, partition=0))
        await producer.stop()

    def consumer(self, handler: RecordingHandler, **changes: Any) -> Consumer:
        own = {name: changes.pop(name) for name in list(changes) if name.startswith("kafka_")}
        return Consumer(
            settings(self.bootstrap, **own),
            handler,
            group=self.group,
            topics=changes.pop("topics", [self.topic]),
            client_id="test",
            poll_timeout_ms=20,
            **changes,
        )

    async def committed(self, partition: int = 0) -> int | None:
        return await committed(self.bootstrap, self.group, self.topic, partition=partition)


async def build_harness(bootstrap: str, *, partitions: int = 1) -> ConsumerHarness:
    harness = ConsumerHarness(bootstrap, a_name("harness"), a_name("group"))
    await make_topics(bootstrap, {harness.topic: partitions})
    return harness


@asynccontextmanager
async def running(consumer: Consumer) -> AsyncIterator[Consumer]:
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()
