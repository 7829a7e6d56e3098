"""Topics, their content, committed offsets and broker failures."""

import asyncio
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import GroupCoordinatorNotAvailableError

from sandbox.kafka import Broker, KafkaCluster
from sandbox.probes import broker_count
from services.chassis.runtime.settings import KafkaSettings
from tests.chassis.eventually import until

_NUMBERS = count(1)


def settings(bootstrap: str, **changes: Any) -> KafkaSettings:
    """Settings of this Kafka, with short timeouts."""
    return KafkaSettings(
        **{
            "kafka_bootstrap_servers": bootstrap,
            "kafka_send_timeout_s": 5.0,
            "kafka_session_timeout_ms": 6_000,
            **changes,
        }
    )


def a_name(stem: str) -> str:
    """A name that is unique on this Kafka."""
    return f"chassis.{stem}.{next(_NUMBERS)}"


async def make_topics(bootstrap: str, topics: Mapping[str, int], *, config: Mapping[str, str] | None = None) -> None:
    """Create topics with these numbers of partitions; return once the broker leads them."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        new_topics = [NewTopic(name, number, 1, topic_configs=dict(config or {})) for name, number in topics.items()]
        response = await admin.create_topics(new_topics)
        assert [error for _, error, *_ in response.topic_errors if error] == []

        async def led() -> bool:
            described = await admin.describe_topics(list(topics))
            return all(
                not topic["error_code"] and all(part["leader"] >= 0 for part in topic["partitions"])
                for topic in described
            )

        await until(led)
    finally:
        await admin.close()


@asynccontextmanager
async def open_reader(bootstrap: str, topic: str) -> AsyncIterator[AIOKafkaConsumer]:
    """Open a plain consumer at the beginning of all partitions."""
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def read_all(bootstrap: str, topic: str) -> list[ConsumerRecord]:
    """Return all records of a topic, by partition and offset."""
    async with open_reader(bootstrap, topic) as consumer:
        ends = await consumer.end_offsets(consumer.assignment())
        found: list[ConsumerRecord] = []
        async with asyncio.timeout(15):
            while any([await consumer.position(partition) < end for partition, end in ends.items()]):
                for records in (await consumer.getmany(timeout_ms=100)).values():
                    found.extend(records)
    return sorted(found, key=lambda record: (record.partition, record.offset))


async def committed(bootstrap: str, group: str, topic: str, *, partition: int = 0) -> int | None:
    """Return the group's committed offset."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(group)
    except GroupCoordinatorNotAvailableError:
        # A new broker answers this until it leads the partitions of the offsets topic.
        return None
    finally:
        await admin.close()
    found = offsets.get(TopicPartition(topic, partition))
    return None if found is None or found.offset < 0 else found.offset


class StoredBatch(NamedTuple):
    """A record batch in the log."""

    base_offset: int
    records: int


def stored_batches(kafka: KafkaCluster, topic: str, partition: int) -> list[StoredBatch]:
    """Return the record batches of a partition from the broker's files."""
    log = kafka.brokers[0].log_directory / f"{topic}-{partition}" / f"{0:020}.log"
    data, at, found = log.read_bytes(), 0, []
    while at + 61 <= len(data):
        base_offset, length = struct.unpack_from(">qi", data, at)
        (records,) = struct.unpack_from(">i", data, at + 57)
        found.append(StoredBatch(base_offset, records))
        at += 12 + length
    return found


async def kill_broker(kafka: KafkaCluster) -> None:
    """Kill the broker, as a power failure does."""
    await asyncio.to_thread(kafka.brokers[0].kill)


async def restart_broker(kafka: KafkaCluster) -> None:
    """Start the broker again at the same address."""
    kafka.brokers[0].launch()
    await until(lambda: broker_count(kafka.brokers[0].node.port) > 0, deadline_s=30)


@asynccontextmanager
async def frozen_broker(broker: Broker) -> AsyncIterator[None]:
    """Freeze the broker, its connections open, inside the context."""
    broker.suspend()
    try:
        yield
    finally:
        broker.resume()
