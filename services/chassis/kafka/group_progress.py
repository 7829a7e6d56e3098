"""Queries about consumer groups: how far they have consumed, and where topics end."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, for_code

from services.chassis.kafka.connection_options import connection_options
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.settings import KafkaSettings

# No request waits for the result, but a hanging query must be noticed.
QUERY_TIMEOUT_S = 15.0
POLL_TIMEOUT_MS = 100

Offsets = Mapping[TopicPartition, int]


@asynccontextmanager
async def query_brokers(settings: KafkaSettings, *, client_id: str) -> AsyncIterator["Brokers"]:
    """Yield connections for a few queries, which must take at most 15 s; raises `UnavailableError`."""
    options = {**connection_options(settings), "client_id": client_id}
    admin = AIOKafkaAdminClient(**options)
    consumer = AIOKafkaConsumer(**options, enable_auto_commit=False)
    # For this one, a partition ends where the first open transaction begins.
    committed = AIOKafkaConsumer(**options, enable_auto_commit=False, isolation_level="read_committed")
    try:
        async with asyncio.timeout(QUERY_TIMEOUT_S):
            await admin.start()
            await consumer.start()
            await committed.start()
            yield Brokers(admin, consumer, committed)
    except (KafkaError, OSError) as error:
        raise UnavailableError("Kafka") from error
    finally:
        await admin.close()
        await consumer.stop()
        await committed.stop()


@dataclass(frozen=True, slots=True)
class Brokers:
    """Connections of one query. Neither consumer belongs to a group."""

    admin: AIOKafkaAdminClient
    consumer: AIOKafkaConsumer
    read_committed_consumer: AIOKafkaConsumer

    async def partitions(self, topics: Sequence[str]) -> list[TopicPartition]:
        """All partitions of the topics."""
        described = await self.admin.describe_topics(list(topics))
        for topic in described:
            if topic["error_code"]:
                # It would seem to have no partitions, and so nothing to consume.
                raise for_code(topic["error_code"])(topic["topic"])
        return [
            TopicPartition(topic["topic"], partition["partition"])
            for topic in described
            for partition in topic["partitions"]
        ]

    async def has_consumed(self, group: str, needed: Offsets) -> bool:
        """Whether the group has consumed all records before these offsets."""
        for partition, offset in (await self.positions(group, list(needed))).items():
            if offset < needed[partition] and await self.may_hold_records(partition, offset, needed[partition]):
                return False
        return True

    async def may_hold_records(self, partition: TopicPartition, first: int, end: int) -> bool:
        """Whether there may be a record between the offsets.

        Transaction markers and aborted records have offsets, too, which no consumer reads or commits.
        """
        consumer = self.read_committed_consumer
        consumer.assign([partition])
        consumer.seek(partition, first)
        while (position := await consumer.position(partition)) < end:
            for records in (await consumer.getmany(timeout_ms=POLL_TIMEOUT_MS, max_records=1)).values():
                return bool(records[0].offset < end)
            if position == consumer.last_stable_offset(partition):
                # The next record belongs to an open transaction, or follows one.
                return True
        return False

    async def positions(self, group: str, partitions: Sequence[TopicPartition]) -> Offsets:
        """The group's committed offsets; the beginning of partitions without one."""
        begins: Offsets = await self.consumer.beginning_offsets(list(partitions))
        committed = await self.admin.list_consumer_group_offsets(group)
        return {
            partition: max(begin, committed[partition].offset if partition in committed else begin)
            for partition, begin in begins.items()
        }

    async def end_offsets_before(self, partitions: Sequence[TopicPartition], before_ms: int) -> Offsets:
        """Offset of the first record that is not older than that time; the end if all are older."""
        ends: Offsets = await self.consumer.end_offsets(list(partitions))
        found = await self.consumer.offsets_for_times(dict.fromkeys(partitions, max(before_ms, 0)))
        return {
            partition: end if (first := found.get(partition)) is None else first.offset
            for partition, end in ends.items()
        }
