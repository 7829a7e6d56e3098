"""Reads whole topics past the proxies, from where they ended when a round began."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from tests.chassis.eventually import until
from tests.faults.checker.ledger import KafkaRecord

POLL_MS = 200
READ_TIMEOUT_S = 60.0


@dataclass
class TopicReader:
    """Reads topics; `mark()` sets where it begins."""

    bootstrap_servers: str
    _begins: dict[TopicPartition, int] = field(default_factory=dict)

    async def mark(self, topics: Sequence[str]) -> None:
        """Begin at the ends of these topics."""
        async with self._consumer() as consumer:
            for topic in topics:
                self._begins |= await consumer.end_offsets(await _partitions(consumer, topic))

    async def read(self, topic: str) -> Sequence[KafkaRecord]:
        """Return what was appended since the mark."""
        async with self._consumer() as consumer:
            partitions = await _partitions(consumer, topic)
            ends: Mapping[TopicPartition, int] = await consumer.end_offsets(partitions)
            consumer.assign(partitions)
            for partition in partitions:
                consumer.seek(partition, self._begins.get(partition, 0))
            found: list[KafkaRecord] = []

            async def is_complete() -> bool:
                for polled in (await consumer.getmany(timeout_ms=POLL_MS)).values():
                    found.extend(
                        KafkaRecord(topic, one.key or b"", {name: value or b"" for name, value in one.headers})
                        for one in polled
                    )
                return all([await consumer.position(each) >= ends[each] for each in partitions])

            await until(is_complete, deadline_s=READ_TIMEOUT_S)
            return found

    def _consumer(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap_servers, auto_offset_reset="earliest", enable_auto_commit=False
        )


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> list[TopicPartition]:
    """The topic's partitions; the client knows them once it has the topic's metadata."""
    found: set[int] = set()

    async def is_known() -> bool:
        try:
            await consumer._client.add_topic(topic)
            found.update(consumer.partitions_for_topic(topic) or ())
        except KafkaError:
            return False
        return bool(found)

    await until(is_known, deadline_s=READ_TIMEOUT_S)
    return [TopicPartition(topic, partition) for partition in sorted(found)]
