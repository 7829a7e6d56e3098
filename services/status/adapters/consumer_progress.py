"""How far status and the validator have consumed, from the committed offsets of their consumer groups."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, for_code

from services.chassis.kafka.producer import connection_options
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.settings import KafkaSettings
from services.status.ports import ConsumerProgress

# No request waits for the result, but a hanging query must be noticed.
QUERY_TIMEOUT_S = 15.0
POLL_TIMEOUT_MS = 100

Offsets = Mapping[TopicPartition, int]


class KafkaConsumerProgress(ConsumerProgress):
    """Queries the brokers; queries are rare, so each opens its own connections.

    The offsets are those of the groups, not of this process, so what other members have yet to consume counts, too.
    `own` is status' group and topic, `upstream` the validator's group and topics.
    """

    def __init__(
        self, settings: KafkaSettings, *, own: tuple[str, str], upstream: tuple[str, Sequence[str]], client_id: str
    ) -> None:
        self._settings = settings
        self._own_group, self._own_topic = own
        self._upstream_group, self._upstream_topics = upstream
        self._client_id = client_id
        self._end_offsets: Offsets | None = None

    async def snapshot_end_offsets(self) -> None:
        async with self._brokers() as brokers:
            partitions = await brokers.partitions([self._own_topic])
            self._end_offsets = await brokers.consumer.end_offsets(partitions)

    async def is_caught_up(self, *, up_to_us: int) -> bool:
        if self._end_offsets is None:
            return False
        async with self._brokers() as brokers:
            if not await brokers.has_consumed(self._own_group, self._end_offsets):
                return False
            partitions = await brokers.partitions(self._upstream_topics)
            ends = await brokers.end_offsets_before(partitions, up_to_us // 1000)
            return await brokers.has_consumed(self._upstream_group, ends)

    @asynccontextmanager
    async def _brokers(self) -> AsyncIterator["_Brokers"]:
        options = {**connection_options(self._settings), "client_id": self._client_id}
        admin = AIOKafkaAdminClient(**options)
        consumer = AIOKafkaConsumer(**options, enable_auto_commit=False)
        # For this one, a partition ends where the first open transaction begins.
        committed = AIOKafkaConsumer(**options, enable_auto_commit=False, isolation_level="read_committed")
        try:
            async with asyncio.timeout(QUERY_TIMEOUT_S):
                await admin.start()
                await consumer.start()
                await committed.start()
                yield _Brokers(admin, consumer, committed)
        except (KafkaError, OSError) as error:
            raise UnavailableError("Kafka") from error
        finally:
            await admin.close()
            await consumer.stop()
            await committed.stop()


@dataclass(frozen=True, slots=True)
class _Brokers:
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
