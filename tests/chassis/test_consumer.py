"""The consumer on a real broker: an offset is committed only after its effect, whatever happens around it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from confluent_kafka import Consumer as Reader
from confluent_kafka.admin import AdminClient

from sandbox.kafka import KafkaCluster
from services.chassis.consumer import LOST, REBALANCES, STALLED_AFTER_S, Consumer, Offsets, Poll
from services.chassis.errors import Away
from services.chassis.lag import RECORDS as LAG
from tests.chassis.eventually import until
from tests.chassis.kafka_side import a_name, back, committed, frozen, killed, make_topics, settings


@dataclass
class Effects:
    """A handler that writes down what happened, in order, and misbehaves when told to."""

    handled: list[int] = field(default_factory=list)
    journal: list[str] = field(default_factory=list)
    empty: int = 0
    revoked_partitions: set[TopicPartition] = field(default_factory=set)
    away: int = 0
    defects: int = 0
    hold: asyncio.Event | None = None
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    on_poll: Callable[[Poll], Offsets | None] = lambda _poll: None

    async def handle(self, poll: Poll) -> Offsets:
        if not poll:
            self.empty += 1
            return self.on_poll(poll) or {}
        values = [int(record.value or b"-1") for records in poll.values() for record in records]
        self.entered.set()
        if self.hold is not None:
            await self.hold.wait()
        if self.away:
            self.away -= 1
            self.journal.append(f"away {min(values)}-{max(values)}")
            raise Away("MongoDB")
        if self.defects:
            self.defects -= 1
            raise KeyError("a defect")
        self.handled += values
        chosen = self.on_poll(poll)
        if chosen is not None:
            return chosen
        return {place: records[-1].offset + 1 for place, records in poll.items()}

    def revoked(self, partitions: Collection[TopicPartition]) -> None:
        self.revoked_partitions |= set(partitions)
        self.journal.append("revoked")


@dataclass
class Clock:
    """Real time, and what is added to it."""

    added_s: float = 0.0

    def __call__(self) -> float:
        return asyncio.get_running_loop().time() + self.added_s


@dataclass(frozen=True)
class Stage:
    """A topic, a group and the Kafka they are on."""

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

    def consumer(self, effects: Effects, **changes: Any) -> Consumer:
        own = {name: changes.pop(name) for name in list(changes) if name.startswith("kafka_")}
        return Consumer(
            settings(self.bootstrap, **own),
            effects,
            group=self.group,
            topics=changes.pop("topics", [self.topic]),
            client_id="test",
            poll_timeout_ms=20,
            **changes,
        )

    async def committed(self, partition: int = 0) -> int | None:
        return await committed(self.bootstrap, self.group, self.topic, partition=partition)


async def a_stage(bootstrap: str, *, partitions: int = 1) -> Stage:
    stage = Stage(bootstrap, a_name("stage"), a_name("group"))
    await make_topics(bootstrap, {stage.topic: partitions})
    return stage


@asynccontextmanager
async def running(consumer: Consumer) -> AsyncIterator[Consumer]:
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def test_what_was_handled_is_committed_and_not_read_again(kafka_bootstrap: str) -> None:
    stage, effects = await a_stage(kafka_bootstrap), Effects()
    await stage.produce(range(10))
    async with running(stage.consumer(effects)):
        await until(lambda: len(effects.handled) == 10)
    assert await stage.committed() == 10
    await stage.produce(range(10, 15))
    async with running(stage.consumer(effects)):
        await until(lambda: len(effects.handled) >= 15)
    assert effects.handled == list(range(15))


async def test_offsets_are_committed_while_it_runs(kafka_bootstrap: str) -> None:
    stage, effects = await a_stage(kafka_bootstrap), Effects()
    await stage.produce(range(3))
    async with running(stage.consumer(effects)):

        async def is_committed() -> bool:
            return await stage.committed() == 3

        await until(is_committed)


async def test_the_committed_offset_is_never_ahead_of_what_was_handled(kafka_bootstrap: str) -> None:
    """I7: the handler holds back the last two of each poll until an empty poll, then the process dies."""
    stage, effects = await a_stage(kafka_bootstrap), Effects()
    place = TopicPartition(stage.topic, 0)

    def hold_two_back(poll: Poll) -> Offsets:
        return {place: records[-1].offset - 1 for place, records in poll.items()}

    effects.on_poll = hold_two_back
    await stage.produce(range(10))
    async with running(stage.consumer(effects)):
        await until(lambda: len(effects.handled) == 10)
    assert await stage.committed() == 8
    effects.on_poll = lambda poll: None if poll else {place: 10}
    empty = effects.empty
    async with running(stage.consumer(effects)):
        await until(lambda: effects.empty > empty + 1)
    assert effects.handled[10:] == [8, 9]
    assert await stage.committed() == 10


async def test_a_crash_before_the_effect_is_there_loses_nothing(kafka_bootstrap: str) -> None:
    stage, effects = await a_stage(kafka_bootstrap), Effects(hold=asyncio.Event())
    await stage.produce(range(5))
    consumer = stage.consumer(effects, kafka_group_instance_id="crash-1")
    await consumer.start()
    await asyncio.wait_for(effects.entered.wait(), 15)
    assert consumer._running is not None
    consumer._running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consumer._running
    assert await stage.committed() is None
    again = Effects()
    async with running(stage.consumer(again, kafka_group_instance_id="crash-1")):
        await until(lambda: len(again.handled) == 5)


async def test_empty_polls_are_delivered(kafka_bootstrap: str) -> None:
    stage, effects = await a_stage(kafka_bootstrap), Effects()
    async with running(stage.consumer(effects)) as consumer:
        await until(lambda: effects.empty > 3)
        assert consumer.ready


async def test_while_a_dependency_is_away_the_same_poll_comes_again_and_the_membership_stays(
    kafka_bootstrap: str,
) -> None:
    """For longer than the session lasts: the group must not think the member dead."""
    stage, effects = await a_stage(kafka_bootstrap), Effects(away=5)
    await stage.produce(range(10))
    rebalances = REBALANCES.labels(stage.group)
    async with running(stage.consumer(effects, kafka_session_timeout_ms=1_000)) as consumer:
        await until(lambda: bool(effects.journal))
        await stage.produce(range(10, 20))
        await until(lambda: len(effects.handled) == 20)
        assert consumer.alive
        assert rebalances._value.get() == 1
    assert effects.journal[:5] == ["away 0-9"] * 5
    assert effects.handled == list(range(20))
    assert await stage.committed() == 20


async def test_who_waits_for_a_dependency_is_alive_and_can_be_stopped(kafka_bootstrap: str) -> None:
    stage, effects, clock = await a_stage(kafka_bootstrap), Effects(away=1_000_000), Clock()
    await stage.produce(range(3))
    async with running(stage.consumer(effects, clock=clock)) as consumer:
        await until(lambda: len(effects.journal) > 1)
        tried = len(effects.journal)
        clock.added_s += 10 * STALLED_AFTER_S
        await until(lambda: len(effects.journal) > tried)
        assert consumer.alive
        async with asyncio.timeout(3):
            await consumer.stop()
    assert await stage.committed() is None


async def test_a_defect_of_the_handler_is_not_the_end(kafka_bootstrap: str) -> None:
    stage, effects = await a_stage(kafka_bootstrap), Effects(defects=2)
    await stage.produce(range(4))
    async with running(stage.consumer(effects)):
        await until(lambda: len(effects.handled) == 4)
    assert await stage.committed() == 4
    assert effects.journal.count("revoked") >= 2


async def test_what_was_done_before_a_defect_is_committed(kafka_bootstrap: str) -> None:
    stage, effects = await a_stage(kafka_bootstrap), Effects()
    await stage.produce(range(4))
    async with running(stage.consumer(effects)):
        await until(lambda: len(effects.handled) == 4)
        effects.defects = 1
        await stage.produce([4])
        await until(lambda: len(effects.handled) == 5)
    assert effects.handled == list(range(5))


async def test_a_defect_that_stays_turns_the_process_dead(kafka_bootstrap: str) -> None:
    stage, effects, clock = await a_stage(kafka_bootstrap), Effects(defects=1_000_000), Clock()
    await stage.produce(range(4))
    async with running(stage.consumer(effects, clock=clock)) as consumer:
        await until(lambda: effects.defects < 1_000_000)
        await until(lambda: consumer.alive)
        clock.added_s += STALLED_AFTER_S
        before = effects.defects
        await until(lambda: effects.defects < before and not consumer.alive)
        effects.defects = 0
        await until(lambda: consumer.alive)


async def test_a_handler_that_never_returns_turns_the_process_dead(kafka_bootstrap: str) -> None:
    stage, effects, clock = await a_stage(kafka_bootstrap), Effects(hold=asyncio.Event()), Clock()
    await stage.produce(range(4))
    async with running(stage.consumer(effects, clock=clock)) as consumer:
        await asyncio.wait_for(effects.entered.wait(), 15)
        await until(lambda: consumer.alive)
        clock.added_s += STALLED_AFTER_S
        await until(lambda: not consumer.alive)
        assert effects.hold is not None
        effects.hold.set()
        await until(lambda: consumer.alive)


async def test_stopping_finishes_the_poll_at_hand_and_commits_it(kafka_bootstrap: str) -> None:
    stage, effects = await a_stage(kafka_bootstrap), Effects(hold=asyncio.Event())
    await stage.produce(range(6))
    consumer = stage.consumer(effects)
    await consumer.start()
    await asyncio.wait_for(effects.entered.wait(), 15)
    stopping = asyncio.create_task(consumer.stop())
    await asyncio.sleep(0)
    assert not stopping.done()
    assert effects.hold is not None
    effects.hold.set()
    await stopping
    assert effects.handled == list(range(6))
    assert await stage.committed() == 6


async def test_what_the_handler_has_begun_is_finished_before_the_partitions_are_given_away(
    kafka_bootstrap: str,
) -> None:
    """It gives the offsets of a poll only with an empty one, and none comes by itself while the poll is at hand."""
    stage, effects = await a_stage(kafka_bootstrap), Effects(hold=asyncio.Event())
    effects.on_poll = lambda poll: {} if poll else {TopicPartition(stage.topic, 0): 6}
    await stage.produce(range(6))
    consumer = stage.consumer(effects)
    await consumer.start()
    await asyncio.wait_for(effects.entered.wait(), 15)
    empty, stopping = effects.empty, asyncio.create_task(consumer.stop())
    await asyncio.sleep(0)
    assert effects.hold is not None
    effects.hold.set()
    await stopping
    assert effects.empty == empty + 1
    assert await stage.committed() == 6


async def test_a_rebalance_commits_first_and_lets_go_of_what_is_held_back(kafka_bootstrap: str) -> None:
    """F12: a second member joins while records are read; each record is handled, none twice, nothing is held by two."""
    stage = await a_stage(kafka_bootstrap, partitions=4)
    one, two = Effects(), Effects()
    for partition in range(4):
        await stage.produce(range(partition * 100, partition * 100 + 10), partition=partition)
    async with running(stage.consumer(one)) as first:
        await until(lambda: len(one.handled) == 40)
        async with running(stage.consumer(two)) as second:
            await until(lambda: first.ready and second.ready and "revoked" in one.journal)
            assert one.revoked_partitions == {TopicPartition(stage.topic, number) for number in range(4)}
            assert [await stage.committed(partition) for partition in range(4)] == [10] * 4
            for partition in range(4):
                await stage.produce(range(partition * 100 + 10, partition * 100 + 20), partition=partition)
            await until(lambda: len(one.handled) + len(two.handled) >= 80)
        await until(lambda: first.ready)
    both = sorted(one.handled + two.handled)
    assert both == sorted(number for partition in range(4) for number in range(partition * 100, partition * 100 + 20))
    assert len(two.handled) == 20


async def test_who_joins_takes_his_share_of_each_topic(kafka_bootstrap: str) -> None:
    """Counted all together, the newcomer's half may be the topic that has no lag."""
    stage, one, two = await a_stage(kafka_bootstrap, partitions=4), Effects(), Effects()
    other = Stage(kafka_bootstrap, a_name("stage"), stage.group)
    await make_topics(kafka_bootstrap, {other.topic: 4})
    topics = [stage.topic, other.topic]
    async with running(stage.consumer(one, topics=topics)) as first:
        await until(lambda: first.ready)
        async with running(stage.consumer(two, topics=topics)) as second:
            await until(lambda: first.ready and second.ready and "revoked" in one.journal)
            for number in range(4):
                await stage.produce([number], partition=number)
                await other.produce([number + 4], partition=number)
            await until(lambda: len(one.handled) + len(two.handled) == 8)
    assert [len([value for value in each.handled if value < 4]) for each in (one, two)] == [2, 2]
    assert [len([value for value in each.handled if value >= 4]) for each in (one, two)] == [2, 2]


async def test_a_member_too_many_leaves_the_others_alone(kafka_bootstrap: str) -> None:
    """It has nothing to read, and must not join anew for that: each time the whole group would stand still."""
    stage, effects, clock = await a_stage(kafka_bootstrap), (Effects(), Effects()), Clock()
    one, two = (stage.consumer(each, clock=clock) for each in effects)
    async with running(one):
        await until(lambda: one.ready)
        async with running(two):
            await until(lambda: "revoked" in effects[0].journal)
            await until_both_polled(effects)
            assert one.ready != two.ready
            before = [list(each.journal) for each in effects]
            clock.added_s += STALLED_AFTER_S
            await until_both_polled(effects)
            assert [each.journal for each in effects] == before
            assert one.alive
            assert two.alive


async def until_both_polled(effects: tuple[Effects, Effects]) -> None:
    """Several times: nobody polls while the group finds out who has what."""
    seen = [each.empty for each in effects]
    await until(lambda: all(each.empty > polls + 5 for each, polls in zip(effects, seen, strict=True)))


async def test_a_rebalance_does_not_wait_for_a_dependency(kafka_bootstrap: str) -> None:
    stage = await a_stage(kafka_bootstrap, partitions=2)
    one, two = Effects(away=1_000_000), Effects()
    for partition in range(2):
        await stage.produce(range(partition * 10, partition * 10 + 5), partition=partition)
    async with running(stage.consumer(one, kafka_session_timeout_ms=30_000)):
        await until(lambda: bool(one.journal))
        async with running(stage.consumer(two, kafka_session_timeout_ms=30_000)):
            await until(lambda: len(two.handled) == 5)
            one.away = 0
            await until(lambda: len(one.handled) == 5)
    assert sorted(one.handled + two.handled) == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]


async def test_a_static_member_comes_back_without_a_rebalance(kafka_bootstrap: str) -> None:
    stage = await a_stage(kafka_bootstrap, partitions=2)
    one, two = Effects(), Effects()
    async with running(stage.consumer(one, kafka_group_instance_id="one")) as first:
        await until(lambda: first.ready)
        second = stage.consumer(two, kafka_group_instance_id="two")
        await second.start()
        await until(lambda: second.ready and "revoked" in one.journal and first.ready)
        await second.stop()
        before = one.journal.count("revoked")
        await stage.produce(range(5), partition=0)
        await stage.produce(range(5, 10), partition=1)
        await until(lambda: len(one.handled) == 5)
        async with running(stage.consumer(two, kafka_group_instance_id="two")):
            await until(lambda: len(two.handled) == 5)
        assert one.journal.count("revoked") == before
    assert sorted(one.handled + two.handled) == list(range(10))


async def test_what_a_stopped_partition_holds_back_is_lag(kafka_bootstrap: str) -> None:
    """It was fetched, and is not handled."""
    stage, effects = await a_stage(kafka_bootstrap), Effects()
    place = TopicPartition(stage.topic, 0)
    stopped: set[TopicPartition] = set()

    def stop_in_the_middle(poll: Poll) -> Offsets:
        if poll:
            stopped.add(place)
        return dict.fromkeys(poll, 4)

    effects.on_poll = stop_in_the_middle
    await stage.produce(range(10))
    async with running(stage.consumer(effects, stopped=lambda: stopped)):
        await until(lambda: LAG.labels(stage.group, stage.topic, "0")._value.get() == 6)
    assert await stage.committed() == 4


async def test_what_the_handler_has_begun_and_cannot_finish_is_lag(kafka_bootstrap: str) -> None:
    """Though the poll that brought it is over, and nothing comes after it."""
    stage, effects = await a_stage(kafka_bootstrap), Effects()
    lag = LAG.labels(stage.group, stage.topic, "0")
    is_away = True

    def begin(poll: Poll) -> Offsets:
        if poll or not effects.handled:
            return dict.fromkeys(poll, 4)
        if is_away:
            raise Away("MongoDB")
        return {TopicPartition(stage.topic, 0): 10}

    effects.on_poll = begin
    await stage.produce(range(10))
    async with running(stage.consumer(effects)):
        await until(lambda: lag._value.get() == 6)
        is_away = False
        await until(lambda: lag._value.get() == 0)
    assert await stage.committed() == 10


async def test_it_waits_until_it_may_begin(kafka_bootstrap: str) -> None:
    stage, effects, may = await a_stage(kafka_bootstrap), Effects(), False
    await stage.produce(range(3))
    async with running(stage.consumer(effects, may_begin=lambda: may)) as consumer:
        turned = consumer._turned_at
        await until(lambda: consumer._turned_at > turned)
        assert not consumer.ready
        assert consumer.alive
        may = True
        await until(lambda: len(effects.handled) == 3)


async def test_without_a_broker_it_starts_is_alive_and_stops(kafka_bootstrap: str) -> None:
    del kafka_bootstrap
    clock = Clock()
    stage = Stage("127.0.0.1:1", "any", "any")
    async with running(stage.consumer(Effects(), clock=clock)) as consumer:
        clock.added_s += 10 * STALLED_AFTER_S
        await until(lambda: consumer.alive)
        assert not consumer.ready
        async with asyncio.timeout(3):
            await consumer.stop()


async def test_a_topic_may_come_later(kafka_bootstrap: str) -> None:
    stage, effects, clock = Stage(kafka_bootstrap, a_name("later"), a_name("group")), Effects(), Clock()
    async with running(stage.consumer(effects, clock=clock)) as consumer:
        await until(lambda: consumer._kafka is not None and effects.empty > 0)
        assert not consumer.ready
        await make_topics(kafka_bootstrap, {stage.topic: 1})
        await stage.produce(range(3))
        clock.added_s += STALLED_AFTER_S  # it joins anew when there was nothing to read from for so long
        await until(lambda: len(effects.handled) == 3)
        assert consumer.alive


async def test_it_survives_a_killed_broker(own_kafka: KafkaCluster) -> None:
    """F6: what was handled and not yet committed may come again; nothing is skipped."""
    stage, effects = await a_stage(own_kafka.bootstrap_servers), Effects()
    await stage.produce(range(10))
    async with running(stage.consumer(effects)) as consumer:
        await until(lambda: len(effects.handled) == 10)
        await killed(own_kafka)
        await back(own_kafka)
        await stage.produce(range(10, 20))
        await until(lambda: 19 in effects.handled, deadline_s=30)
        assert consumer.alive
    assert sorted(set(effects.handled)) == list(range(20))
    assert await stage.committed() == 20


async def test_it_starts_before_the_broker_does(own_kafka: KafkaCluster) -> None:
    """F27: ready once the broker is there, not before."""
    stage, effects = await a_stage(own_kafka.bootstrap_servers), Effects()
    await stage.produce(range(10))
    await killed(own_kafka)
    try:
        async with running(stage.consumer(effects)) as consumer:
            turned = consumer._turned_at
            await until(lambda: consumer._turned_at > turned)
            assert not consumer.ready
            await back(own_kafka)
            await until(lambda: consumer.ready and len(effects.handled) == 10, deadline_s=30)
    finally:
        if not own_kafka.is_running:
            await back(own_kafka)


async def test_stopping_does_not_wait_for_a_frozen_broker_for_ever(own_kafka: KafkaCluster) -> None:
    """F7, F26: the drain has ten seconds; commit, leaving the group and closing must fit in."""
    before = asyncio.all_tasks()
    stage, effects = await a_stage(own_kafka.bootstrap_servers), Effects()
    await stage.produce(range(10))
    consumer = stage.consumer(effects)
    await consumer.start()
    await until(lambda: len(effects.handled) == 10)
    async with frozen(own_kafka.brokers[0]), asyncio.timeout(9):
        await consumer.stop()
    await until(lambda: not asyncio.all_tasks() - before)


async def test_who_is_stopped_while_it_joins_leaves_nobody_waiting(kafka_bootstrap: str) -> None:
    """The group waits for a member that is as good as dead; who joins meanwhile and is stopped must not be the next."""
    stage = await a_stage(kafka_bootstrap)
    async with a_silent_member(stage):
        async with running(stage.consumer(Effects())):
            await until_members(stage, 2)
        await until_members(stage, 1)


@asynccontextmanager
async def a_silent_member(stage: Stage) -> AsyncIterator[None]:
    """Inside, the group has a member that does not answer when it is to share anew."""
    member = Reader({"bootstrap.servers": stage.bootstrap, "group.id": stage.group})
    # With someone to tell, it lets go of nothing before it polls again.
    member.subscribe([stage.topic], on_revoke=lambda *_: None)

    def is_there() -> bool:
        member.poll(0.1)
        return bool(member.assignment())

    await until(lambda: asyncio.to_thread(is_there))
    try:
        yield
    finally:
        await asyncio.to_thread(member.close)


async def until_members(stage: Stage, number: int) -> None:
    admin = AdminClient({"bootstrap.servers": stage.bootstrap})

    def are_there() -> bool:
        (asked,) = admin.describe_consumer_groups([stage.group]).values()
        return len(asked.result().members) == number

    await until(lambda: asyncio.to_thread(are_there), deadline_s=10)


async def test_records_that_retention_took_are_noticed(kafka_bootstrap: str) -> None:
    """F30: the group was away for longer than records are kept."""
    stage, effects = await a_stage(kafka_bootstrap), Effects()
    await stage.produce(range(10))
    async with running(stage.consumer(effects)):
        await until(lambda: len(effects.handled) == 10)
    await stage.produce(range(10, 30))
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()
    await admin.delete_records({TopicPartition(stage.topic, 0): RecordsToDelete(before_offset=25)})
    await admin.close()
    lost = LOST.labels(stage.topic)
    assert lost._value.get() == 0
    async with running(stage.consumer(effects)):
        await until(lambda: 29 in effects.handled)
        await until(lambda: lost._value.get() == 15)
    assert effects.handled[10:] == [25, 26, 27, 28, 29]
