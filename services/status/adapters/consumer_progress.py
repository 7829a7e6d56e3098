"""How far status and the validator have read, by the word of their groups' committed offsets."""

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

# Nobody waits for the answers, but what hangs is to be noticed.
QUERY_TIMEOUT_S = 15.0
POLL_TIMEOUT_MS = 100

Offsets = Mapping[TopicPartition, int]


class KafkaConsumerProgress:
    """Asks the brokers, over connections that are opened for a question and closed after it: there are few.

    The offsets are those of the groups, not of this process, so what other members have yet to read counts too.
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
        """Remember where our own topic ends; raises `Away`."""
        async with self._brokers() as brokers:
            places = await brokers.partitions([self._own_topic])
            self._end_offsets = await brokers.consumer.end_offsets(places)

    async def is_caught_up(self, *, up_to_us: int) -> bool:
        """Whether we have read up to the mark, and those before us all from before that time; raises `Away`."""
        if self._end_offsets is None:
            return False
        async with self._brokers() as brokers:
            if not await brokers.has_read(self._own_group, self._end_offsets):
                return False
            places = await brokers.partitions(self._upstream_topics)
            return await brokers.has_read(
                self._upstream_group, await brokers.end_offsets_before(places, up_to_us // 1000)
            )

    @asynccontextmanager
    async def _brokers(self) -> AsyncIterator["_Brokers"]:
        told = {**connection_options(self._settings), "client_id": self._client_id}
        admin = AIOKafkaAdminClient(**told)
        kafka = AIOKafkaConsumer(**told, enable_auto_commit=False)
        # To it, a partition ends where the first open transaction begins.
        careful = AIOKafkaConsumer(**told, enable_auto_commit=False, isolation_level="read_committed")
        try:
            async with asyncio.timeout(QUERY_TIMEOUT_S):
                await admin.start()
                await kafka.start()
                await careful.start()
                yield _Brokers(admin, kafka, careful)
        except (KafkaError, OSError) as error:
            raise UnavailableError("Kafka") from error
        finally:
            await admin.close()
            await kafka.stop()
            await careful.stop()


@dataclass(frozen=True, slots=True)
class _Brokers:
    """Connections for one question. Neither consumer belongs to a group; `careful` reads as groups do."""

    admin: AIOKafkaAdminClient
    consumer: AIOKafkaConsumer
    read_committed_consumer: AIOKafkaConsumer

    async def partitions(self, topics: Sequence[str]) -> list[TopicPartition]:
        """Every partition of the topics."""
        described = await self.admin.describe_topics(list(topics))
        for found in described:
            if found["error_code"]:
                # It seems to have no partitions then, and whatever waits in it not to be there.
                raise for_code(found["error_code"])(found["topic"])
        return [
            TopicPartition(found["topic"], partition["partition"])
            for found in described
            for partition in found["partitions"]
        ]

    async def has_read(self, group: str, needed: Offsets) -> bool:
        """Whether the group has read all records in front of these offsets."""
        for place, offset in (await self.positions(group, list(needed))).items():
            if offset < needed[place] and await self.may_hold_records(place, offset, needed[place]):
                return False
        return True

    async def may_hold_records(self, place: TopicPartition, first: int, end: int) -> bool:
        """Whether there is a record between the offsets, or may be one.

        Marks of transactions have offsets, too, which nobody reads, nor commits; nor those of what was taken back.
        """
        self.read_committed_consumer.assign([place])
        self.read_committed_consumer.seek(place, first)
        while (position := await self.read_committed_consumer.position(place)) < end:
            for found in (
                await self.read_committed_consumer.getmany(timeout_ms=POLL_TIMEOUT_MS, max_records=1)
            ).values():
                return bool(found[0].offset < end)
            if position == self.read_committed_consumer.last_stable_offset(place):
                # What comes here belongs to a transaction that is open, or stands behind it.
                return True
        return False

    async def positions(self, group: str, places: Sequence[TopicPartition]) -> Offsets:
        """Where the group goes on reading; where it never was, at the beginning."""
        begins: Offsets = await self.consumer.beginning_offsets(list(places))
        committed = await self.admin.list_consumer_group_offsets(group)
        return {
            place: max(begin, committed[place].offset if place in committed else begin)
            for place, begin in begins.items()
        }

    async def end_offsets_before(self, places: Sequence[TopicPartition], before_ms: int) -> Offsets:
        """Offset of the first record that is not older than that time; the end where all are."""
        ends: Offsets = await self.consumer.end_offsets(list(places))
        younger = await self.consumer.offsets_for_times(dict.fromkeys(places, max(before_ms, 0)))
        return {place: end if (found := younger.get(place)) is None else found.offset for place, end in ends.items()}
