"""The simulated Kafka and the real one through the same interface, which is aiokafka's."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, Protocol

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.errors import NoError, for_code
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from tests.chassis.kafka.kafka_fixtures import a_name, make_topics
from tests.simulation.broker import Batch, Cluster, Entry
from tests.simulation.kafka_consumer import SimulatedConsumer
from tests.simulation.kafka_producer import SimulatedProducer
from tests.simulation.network import Network

MAX_MESSAGE_BYTES = 100_000
PRODUCER = {"enable_idempotence": True, "acks": "all", "request_timeout_ms": 10_000, "max_request_size": 1_000_000}
CONSUMER: dict[str, Any] = {"enable_auto_commit": False, "session_timeout_ms": 6_000, "heartbeat_interval_ms": 200}


class Kafka(Protocol):
    """A cluster. Clients that it returns are started, and closed at the end of the test."""

    async def create_topic(self, *, partitions: int = 1) -> str:
        """Create a topic with the broker's timestamps; returns its name."""

    async def producer(self, **options: Any) -> Any:
        """Return an idempotent producer."""

    async def consumer(self, *topics: str, **options: Any) -> Any:
        """Return a consumer that does not commit by itself."""

    async def producer_id(self) -> int:
        """Return an id for `append`."""

    async def append(self, topic: str, producer_id: int, sequence: int, value: bytes) -> int:
        """Append a batch of one record to partition 0 as it is; returns its offset, raises the broker's error."""

    async def fence(self, producer: Any, topic: str) -> None:
        """Let the broker refuse the producer from now on."""

    async def delete_before(self, topic: str, offset: int) -> None:
        """Delete records of partition 0, as retention does."""

    def forget_generation(self, consumer: Any) -> None:
        """Let the consumer take itself for a member of the generation before."""


class FakeKafka:
    """The simulated cluster."""

    def __init__(self, cleanup: AsyncExitStack) -> None:
        chance = random.Random(1)  # noqa: S311 - delays
        self._cluster, self._network, self._cleanup = Cluster(chance), Network(chance), cleanup
        self._members = {"cluster": self._cluster, "network": self._network, "rng": chance}

    async def create_topic(self, *, partitions: int = 1) -> str:
        name = a_name("fake")
        self._cluster.create_topic(name, partitions, max_bytes=MAX_MESSAGE_BYTES)
        return name

    async def producer(self, **options: Any) -> Any:
        made = type("Producer", (SimulatedProducer,), self._members)(**{**PRODUCER, **options})
        return await _started(made, self._cleanup)

    async def consumer(self, *topics: str, **options: Any) -> Any:
        made = type("Consumer", (SimulatedConsumer,), self._members)(*topics, **{**CONSUMER, **options})
        return await _started(made, self._cleanup)

    async def producer_id(self) -> int:
        return self._cluster.new_producer()

    async def append(self, topic: str, producer_id: int, sequence: int, value: bytes) -> int:
        batch = Batch(producer_id, sequence, (Entry(b"k", value, ()),))
        return await self._cluster.append(TopicPartition(topic, 0), batch, waits_for_replicas=True)

    async def fence(self, producer: Any, topic: str) -> None:
        del topic
        self._cluster.fenced.add(producer._id)

    async def delete_before(self, topic: str, offset: int) -> None:
        self._cluster.delete_before(TopicPartition(topic, 0), offset)

    def forget_generation(self, consumer: Any) -> None:
        consumer._generation -= 1


class RealKafka:
    """The real broker."""

    def __init__(self, bootstrap: str, cleanup: AsyncExitStack) -> None:
        self._bootstrap, self._cleanup = bootstrap, cleanup
        self._raw: Any = None

    async def create_topic(self, *, partitions: int = 1) -> str:
        name = a_name("fake")
        config = {"message.timestamp.type": "LogAppendTime", "max.message.bytes": str(MAX_MESSAGE_BYTES)}
        await make_topics(self._bootstrap, {name: partitions}, config=config)
        return name

    async def producer(self, **options: Any) -> Any:
        made = AIOKafkaProducer(bootstrap_servers=self._bootstrap, **{**PRODUCER, **options})
        return await _started(made, self._cleanup)

    async def consumer(self, *topics: str, **options: Any) -> Any:
        made = AIOKafkaConsumer(*topics, bootstrap_servers=self._bootstrap, **{**CONSUMER, **options})
        return await _started(made, self._cleanup)

    async def producer_id(self) -> int:
        return int((await self.producer())._txn_manager.producer_id)

    async def append(self, topic: str, producer_id: int, sequence: int, value: bytes, *, epoch: int = 0) -> int:
        if self._raw is None:
            self._raw = await self.producer()
        client = self._raw.client
        await client.add_topic(topic)
        builder = DefaultRecordBatchBuilder(
            magic=2,
            compression_type=0,
            is_transactional=0,
            producer_id=producer_id,
            producer_epoch=epoch,
            base_sequence=sequence,
            batch_size=MAX_MESSAGE_BYTES * 2,
        )
        builder.append(0, timestamp=None, key=b"k", value=value, headers=[])
        content = bytes(builder.build())
        request = ProduceRequest(
            transactional_id=None, required_acks=-1, timeout=5_000, topics=[(topic, [(0, content)])]
        )
        node = await _leader(client, topic)
        response = await client.send(node, request)
        ((_, ((_, code, offset, *_rest),)),) = response.topics
        if for_code(code) is not NoError:
            raise for_code(code)
        return int(offset)

    async def fence(self, producer: Any, topic: str) -> None:
        await self.append(topic, producer._txn_manager.producer_id, 0, b"newer epoch", epoch=1)

    async def delete_before(self, topic: str, offset: int) -> None:
        admin = await _started(AIOKafkaAdminClient(bootstrap_servers=self._bootstrap), self._cleanup)
        await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=offset)})

    def forget_generation(self, consumer: Any) -> None:
        consumer._coordinator.generation -= 1


async def _leader(client: Any, topic: str) -> int:
    while True:
        leader = client.cluster.leader_for_partition(TopicPartition(topic, 0))
        if leader is not None and leader >= 0:
            return int(leader)
        await client.force_metadata_update()
        await asyncio.sleep(0.01)


async def _started(client: Any, cleanup: AsyncExitStack) -> Any:
    await client.start()
    cleanup.push_async_callback(client.close if isinstance(client, AIOKafkaAdminClient) else client.stop)
    return client


@pytest.fixture(params=["fake", "real"])
async def kafka(request: pytest.FixtureRequest) -> AsyncIterator[Kafka]:
    """Each cluster. Kafka is started for the second one only."""
    async with AsyncExitStack() as cleanup:
        if request.param == "fake":
            yield FakeKafka(cleanup)
        else:
            yield RealKafka(request.getfixturevalue("kafka_bootstrap"), cleanup)
