"""Consuming: the simulated Kafka and the real one deliver, assign, commit and forget in the same way."""

import asyncio
from collections.abc import Collection
from typing import Any

import pytest
from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, NoOffsetForPartitionError, OffsetOutOfRangeError

from tests.chassis.eventually import until
from tests.fakes.kafka_fixtures import Kafka


class Listener(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka has no type hints
    """Notes what is assigned and revoked."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, int]] = []

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        self.notes.append(("revoked", len(revoked)))

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self.notes.append(("assigned", len(assigned)))


async def fill(kafka: Kafka, *, partitions: int = 1, count: int = 10) -> str:
    """Return a topic with this number of records in each partition."""
    topic, producer = await kafka.create_topic(partitions=partitions), await kafka.producer()
    for partition in range(partitions):
        for number in range(count):
            value = b"%d-%d" % (partition, number)
            await (await producer.send(topic, value=value, key=b"k", partition=partition, headers=[]))
    return topic


async def read(consumer: Any, *, count: int) -> dict[int, list[int]]:
    """Read that many records; returns the offsets of each partition."""
    found: dict[int, list[int]] = {}
    async with asyncio.timeout(20):
        while sum(map(len, found.values())) < count:
            for where, records in (await consumer.getmany(timeout_ms=200)).items():
                found.setdefault(where.partition, []).extend(each.offset for each in records)
    return found


async def test_a_reader_seeks_and_knows_the_ends(kafka: Kafka) -> None:
    topic = await fill(kafka)
    where = TopicPartition(topic, 0)
    consumer = await kafka.consumer(auto_offset_reset="earliest")
    consumer.assign([where])
    assert consumer.assignment() == {where}
    assert await consumer.beginning_offsets([where]) == {where: 0}
    assert await consumer.end_offsets([where]) == {where: 10}
    assert (await read(consumer, count=10))[0] == list(range(10))
    assert await consumer.position(where) == 10
    consumer.seek(where, 4)
    assert (await read(consumer, count=6))[0] == list(range(4, 10))
    with pytest.raises(IllegalStateError):
        consumer.seek(TopicPartition(topic, 1), 0)


async def test_a_poll_returns_at_most_the_records_that_were_asked_for(kafka: Kafka) -> None:
    topic = await fill(kafka)
    consumer = await kafka.consumer(auto_offset_reset="earliest")
    consumer.assign([TopicPartition(topic, 0)])
    found: list[int] = []
    while len(found) < 10:
        polled = await consumer.getmany(timeout_ms=200, max_records=3)
        assert sum(map(len, polled.values())) <= 3
        found += [each.offset for records in polled.values() for each in records]
    assert found == list(range(10))


async def test_a_paused_partition_delivers_nothing(kafka: Kafka) -> None:
    topic = await fill(kafka, partitions=2)
    consumer = await kafka.consumer(auto_offset_reset="earliest")
    first, second = TopicPartition(topic, 0), TopicPartition(topic, 1)
    consumer.assign([first, second])
    consumer.pause(first)
    assert consumer.paused() == {first}
    assert set(await read(consumer, count=10)) == {1}
    consumer.resume(first)
    assert set(await read(consumer, count=10)) == {0}


async def test_offsets_are_found_by_time(kafka: Kafka) -> None:
    topic = await fill(kafka, count=3)
    where = TopicPartition(topic, 0)
    consumer = await kafka.consumer(auto_offset_reset="earliest")
    consumer.assign([where])
    polled: list[Any] = []
    while len(polled) < 3:
        polled += [each for records in (await consumer.getmany(timeout_ms=200)).values() for each in records]
    found = await consumer.offsets_for_times({where: polled[0].timestamp})
    assert (found[where].offset, found[where].timestamp) == (0, polled[0].timestamp)
    assert (await consumer.offsets_for_times({where: polled[-1].timestamp + 60_000}))[where] is None


@pytest.mark.parametrize("resets", ["earliest", "none"])
async def test_a_position_that_retention_deleted_is_noticed(kafka: Kafka, resets: str) -> None:
    """F30: a reader without a policy is told, one with a policy goes on at the beginning."""
    topic = await fill(kafka)
    where = TopicPartition(topic, 0)
    await kafka.delete_before(topic, 6)
    consumer = await kafka.consumer(auto_offset_reset=resets)
    consumer.assign([where])
    assert await consumer.beginning_offsets([where]) == {where: 6}
    consumer.seek(where, 2)
    if resets == "earliest":
        assert (await read(consumer, count=4))[0] == [6, 7, 8, 9]
        return
    with pytest.raises(OffsetOutOfRangeError):
        await read(consumer, count=4)
    consumer.seek(where, 6)
    assert (await read(consumer, count=4))[0] == [6, 7, 8, 9]


async def test_without_a_committed_offset_and_a_policy_reading_fails(kafka: Kafka) -> None:
    topic = await fill(kafka)
    consumer = await kafka.consumer(group_id=topic, auto_offset_reset="none")
    consumer.subscribe([topic], listener=Listener())
    with pytest.raises(NoOffsetForPartitionError):
        await read(consumer, count=1)


async def test_a_group_goes_on_at_the_committed_offset(kafka: Kafka) -> None:
    topic = await fill(kafka)
    where = TopicPartition(topic, 0)
    first = await kafka.consumer(group_id=topic, auto_offset_reset="earliest")
    first.subscribe([topic], listener=Listener())
    await read(first, count=10)
    assert await first.committed(where) is None
    await first.commit({where: 4})
    assert await first.committed(where) == 4
    await first.stop()
    second = await kafka.consumer(group_id=topic, auto_offset_reset="none")
    second.subscribe([topic], listener=Listener())
    assert (await read(second, count=6))[0] == list(range(4, 10))


async def test_members_share_the_partitions_and_take_over(kafka: Kafka) -> None:
    """Each partition has one owner; a member that leaves gives up its partitions at once."""
    topic = await fill(kafka, partitions=4, count=1)
    listeners = [Listener(), Listener()]
    members = [await kafka.consumer(group_id=topic, auto_offset_reset="earliest") for _ in listeners]
    members[0].subscribe([topic], listener=listeners[0])
    await until(lambda: len(members[0].assignment()) == 4, deadline_s=30)
    members[1].subscribe([topic], listener=listeners[1])
    await until(lambda: [len(member.assignment()) for member in members] == [2, 2], deadline_s=30)
    assert not members[0].assignment() & members[1].assignment()
    await members[0].stop()
    await until(lambda: len(members[1].assignment()) == 4, deadline_s=30)
    assert listeners[0].notes[:4] == [("revoked", 0), ("assigned", 4), ("revoked", 4), ("assigned", 2)]
    assert listeners[1].notes[:4] == [("revoked", 0), ("assigned", 2), ("revoked", 2), ("assigned", 4)]


async def test_a_commit_of_an_earlier_generation_is_refused(kafka: Kafka) -> None:
    """I7: a member that has missed a rebalance commits nothing."""
    topic = await fill(kafka)
    where = TopicPartition(topic, 0)
    consumer = await kafka.consumer(group_id=topic, auto_offset_reset="earliest")
    consumer.subscribe([topic], listener=Listener())
    await read(consumer, count=10)
    await consumer.commit({where: 3})
    kafka.forget_generation(consumer)
    with pytest.raises(CommitFailedError):
        await consumer.commit({where: 9})
    observer = await kafka.consumer(group_id=topic, auto_offset_reset="earliest")
    assert await observer.committed(where) == 3


class HoldingListener(Listener):
    """Holds the second revocation, which is the first one with partitions, until it may end."""

    def __init__(self) -> None:
        super().__init__()
        self.holding, self.may_end = asyncio.Event(), asyncio.Event()

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        await super().on_partitions_revoked(revoked)
        if revoked:
            self.holding.set()
            await self.may_end.wait()


async def test_a_member_that_gives_up_its_partitions_reads_nothing(kafka: Kafka) -> None:
    """I7: records behind those that it is about to give up would be committed without them."""
    topic = await fill(kafka, count=3)
    listener = HoldingListener()
    first = await kafka.consumer(group_id=topic, auto_offset_reset="earliest")
    first.subscribe([topic], listener=listener)
    await read(first, count=3)
    await first.commit({TopicPartition(topic, 0): 1})
    polling = asyncio.create_task(first.getmany(timeout_ms=20_000))
    second = await kafka.consumer(group_id=topic, auto_offset_reset="earliest")
    second.subscribe(["another-" + topic], listener=Listener())
    async with asyncio.timeout(20):
        await listener.holding.wait()
        producer = await kafka.producer()
        await (await producer.send(topic, value=b"3", key=b"k", partition=0, headers=[]))
        observer = await kafka.consumer(auto_offset_reset="earliest")
        observer.assign([TopicPartition(topic, 0)])
        await read(observer, count=4)
        assert not polling.done()
        listener.may_end.set()
        offsets = [each.offset for records in (await polling).values() for each in records]
    assert offsets[0] == 1
