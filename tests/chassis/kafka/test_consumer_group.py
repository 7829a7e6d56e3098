"""Members of a group come, go and share: each record is handled, and nobody waits for who is gone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import TopicPartition
from confluent_kafka import Consumer as Reader
from confluent_kafka.admin import AdminClient

from services.chassis.kafka.stall_detector import STALL_TIMEOUT_S
from tests.chassis.eventually import until
from tests.chassis.kafka.consumer_fixtures import Clock, ConsumerHarness, RecordingHandler, build_harness, running
from tests.chassis.kafka.kafka_fixtures import a_name, make_topics


async def test_what_the_handler_has_begun_is_finished_before_the_partitions_are_given_away(
    kafka_bootstrap: str,
) -> None:
    """It gives the offsets of a poll only with an empty one, and none comes by itself while the poll is at hand."""
    harness, handler = await build_harness(kafka_bootstrap), RecordingHandler(hold=asyncio.Event())
    handler.on_poll = lambda poll: {} if poll else {TopicPartition(harness.topic, 0): 6}
    await harness.produce(range(6))
    consumer = harness.consumer(handler)
    await consumer.start()
    await asyncio.wait_for(handler.entered.wait(), 15)
    empty, stopping = handler.empty_polls, asyncio.create_task(consumer.stop())
    await asyncio.sleep(0)
    assert handler.hold is not None
    handler.hold.set()
    await stopping
    assert handler.empty_polls == empty + 1
    assert await harness.committed() == 6


async def test_a_rebalance_commits_first_and_lets_go_of_what_is_held_back(kafka_bootstrap: str) -> None:
    """F12: a second member joins while records are read; each record is handled, none twice, nothing is held by two."""
    harness = await build_harness(kafka_bootstrap, partitions=4)
    one, two = RecordingHandler(), RecordingHandler()
    for partition in range(4):
        await harness.produce(range(partition * 100, partition * 100 + 10), partition=partition)
    async with running(harness.consumer(one)) as first:
        await until(lambda: len(one.handled) == 40)
        async with running(harness.consumer(two)) as second:
            await until(lambda: first.ready and second.ready and "revoked" in one.journal)
            assert one.revoked_partitions == {TopicPartition(harness.topic, number) for number in range(4)}
            assert [await harness.committed(partition) for partition in range(4)] == [10] * 4
            for partition in range(4):
                await harness.produce(range(partition * 100 + 10, partition * 100 + 20), partition=partition)
            await until(lambda: len(one.handled) + len(two.handled) >= 80)
        await until(lambda: first.ready)
    both = sorted(one.handled + two.handled)
    assert both == sorted(number for partition in range(4) for number in range(partition * 100, partition * 100 + 20))
    assert len(two.handled) == 20


async def test_who_joins_takes_his_share_of_each_topic(kafka_bootstrap: str) -> None:
    """Counted all together, the newcomer's half may be the topic that has no lag."""
    harness, one, two = await build_harness(kafka_bootstrap, partitions=4), RecordingHandler(), RecordingHandler()
    other = ConsumerHarness(kafka_bootstrap, a_name("harness"), harness.group)
    await make_topics(kafka_bootstrap, {other.topic: 4})
    topics = [harness.topic, other.topic]
    async with running(harness.consumer(one, topics=topics)) as first:
        await until(lambda: first.ready)
        async with running(harness.consumer(two, topics=topics)) as second:
            await until(lambda: first.ready and second.ready and "revoked" in one.journal)
            for number in range(4):
                await harness.produce([number], partition=number)
                await other.produce([number + 4], partition=number)
            await until(lambda: len(one.handled) + len(two.handled) == 8)
    assert [len([value for value in each.handled if value < 4]) for each in (one, two)] == [2, 2]
    assert [len([value for value in each.handled if value >= 4]) for each in (one, two)] == [2, 2]


async def test_a_member_too_many_leaves_the_others_alone(kafka_bootstrap: str) -> None:
    """It has nothing to read, and must not rejoin for that: each time the whole group would stand still."""
    harness, handler, clock = await build_harness(kafka_bootstrap), (RecordingHandler(), RecordingHandler()), Clock()
    one, two = (harness.consumer(each, clock=clock) for each in handler)
    async with running(one):
        await until(lambda: one.ready)
        async with running(two):
            await until(lambda: "revoked" in handler[0].journal)
            await until_both_polled(handler)
            assert one.ready != two.ready
            before = [list(each.journal) for each in handler]
            clock.added_s += STALL_TIMEOUT_S
            await until_both_polled(handler)
            assert [each.journal for each in handler] == before
            assert one.alive
            assert two.alive


async def until_both_polled(handler: tuple[RecordingHandler, RecordingHandler]) -> None:
    """Several times: nobody polls while the group finds out who has what."""
    seen = [each.empty_polls for each in handler]
    await until(lambda: all(each.empty_polls > polls + 5 for each, polls in zip(handler, seen, strict=True)))


async def test_a_rebalance_does_not_wait_for_a_dependency(kafka_bootstrap: str) -> None:
    harness = await build_harness(kafka_bootstrap, partitions=2)
    one, two = RecordingHandler(outages=1_000_000), RecordingHandler()
    for partition in range(2):
        await harness.produce(range(partition * 10, partition * 10 + 5), partition=partition)
    async with running(harness.consumer(one, kafka_session_timeout_ms=30_000)):
        await until(lambda: bool(one.journal))
        async with running(harness.consumer(two, kafka_session_timeout_ms=30_000)):
            await until(lambda: len(two.handled) == 5)
            one.outages = 0
            await until(lambda: len(one.handled) == 5)
    assert sorted(one.handled + two.handled) == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]


async def test_a_static_member_comes_back_without_a_rebalance(kafka_bootstrap: str) -> None:
    harness = await build_harness(kafka_bootstrap, partitions=2)
    one, two = RecordingHandler(), RecordingHandler()
    async with running(harness.consumer(one, kafka_group_instance_id="one")) as first:
        await until(lambda: first.ready)
        second = harness.consumer(two, kafka_group_instance_id="two")
        await second.start()
        await until(lambda: second.ready and "revoked" in one.journal and first.ready)
        await second.stop()
        before = one.journal.count("revoked")
        await harness.produce(range(5), partition=0)
        await harness.produce(range(5, 10), partition=1)
        await until(lambda: len(one.handled) == 5)
        async with running(harness.consumer(two, kafka_group_instance_id="two")):
            await until(lambda: len(two.handled) == 5)
        assert one.journal.count("revoked") == before
    assert sorted(one.handled + two.handled) == list(range(10))


async def test_who_is_stopped_while_it_joins_leaves_nobody_waiting(kafka_bootstrap: str) -> None:
    """The group waits for a member that is as good as dead; who joins meanwhile and is stopped must not be the next."""
    harness = await build_harness(kafka_bootstrap)
    async with a_silent_member(harness):
        async with running(harness.consumer(RecordingHandler())):
            await until_members(harness, 2)
        await until_members(harness, 1)


@asynccontextmanager
async def a_silent_member(harness: ConsumerHarness) -> AsyncIterator[None]:
    """Inside, the group has a member that does not answer during a rebalance."""
    member = Reader({"bootstrap.servers": harness.bootstrap, "group.id": harness.group})
    # With someone to tell, it lets go of nothing before it polls again.
    member.subscribe([harness.topic], on_revoke=lambda *_: None)

    def is_there() -> bool:
        member.poll(0.1)
        return bool(member.assignment())

    await until(lambda: asyncio.to_thread(is_there))
    try:
        yield
    finally:
        await asyncio.to_thread(member.close)


async def until_members(harness: ConsumerHarness, number: int) -> None:
    admin = AdminClient({"bootstrap.servers": harness.bootstrap})

    def are_there() -> bool:
        (asked,) = admin.describe_consumer_groups([harness.group]).values()
        return len(asked.result().members) == number

    await until(lambda: asyncio.to_thread(are_there), deadline_s=10)
