"""The consumer on a real broker: an offset is committed only after its effect, whatever happens around it."""

import asyncio

import pytest
from aiokafka import TopicPartition
from structlog.testing import capture_logs

from services.chassis.kafka.consumer import HALTED, REBALANCES, RETRIES, Offsets, PartitionsUnavailableError, Poll
from services.chassis.kafka.lag import RECORDS as LAG
from services.chassis.kafka.lag import SECONDS as LAG_SECONDS
from services.chassis.kafka.stall_detector import STALL_TIMEOUT_S
from services.chassis.runtime.errors import UnavailableError
from tests.chassis.eventually import until
from tests.chassis.kafka.consumer_fixtures import Clock, ConsumerHarness, RecordingHandler, build_harness, running
from tests.chassis.kafka.kafka_fixtures import a_name, make_topics


async def test_what_was_handled_is_committed_and_not_read_again(kafka_bootstrap: str) -> None:
    harness, handler = await build_harness(kafka_bootstrap), RecordingHandler()
    await harness.produce(range(10))
    async with running(harness.consumer(handler)):
        await until(lambda: len(handler.handled) == 10)
    assert await harness.committed() == 10
    await harness.produce(range(10, 15))
    async with running(harness.consumer(handler)):
        await until(lambda: len(handler.handled) >= 15)
    assert handler.handled == list(range(15))


async def test_offsets_are_committed_while_it_runs(kafka_bootstrap: str) -> None:
    harness, handler = await build_harness(kafka_bootstrap), RecordingHandler()
    await harness.produce(range(3))
    async with running(harness.consumer(handler)):

        async def is_committed() -> bool:
            return await harness.committed() == 3

        await until(is_committed)


async def test_the_committed_offset_is_never_ahead_of_what_was_handled(kafka_bootstrap: str) -> None:
    """I7: the handler holds back the last two of each poll until an empty poll, then the process dies."""
    harness, handler = await build_harness(kafka_bootstrap), RecordingHandler()
    partition = TopicPartition(harness.topic, 0)

    def hold_two_back(poll: Poll) -> Offsets:
        return {partition: records[-1].offset - 1 for partition, records in poll.items()}

    handler.on_poll = hold_two_back
    await harness.produce(range(10))
    async with running(harness.consumer(handler)):
        await until(lambda: len(handler.handled) == 10)
    assert await harness.committed() == 8
    handler.on_poll = lambda poll: {partition: 10} if not poll and len(handler.handled) == 12 else {}
    async with running(harness.consumer(handler)):
        await until(lambda: len(handler.handled) == 12)
        empty = handler.empty_polls
        await until(lambda: handler.empty_polls > empty + 1)
    assert handler.handled[10:] == [8, 9]
    assert await harness.committed() == 10


async def test_a_crash_before_the_effect_is_there_loses_nothing(kafka_bootstrap: str) -> None:
    harness, handler = await build_harness(kafka_bootstrap), RecordingHandler(hold=asyncio.Event())
    await harness.produce(range(5))
    consumer = harness.consumer(handler, kafka_group_instance_id="crash-1")
    await consumer.start()
    await asyncio.wait_for(handler.entered.wait(), 15)
    assert consumer._task is not None
    consumer._task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consumer._task
    assert await harness.committed() is None
    again = RecordingHandler()
    async with running(harness.consumer(again, kafka_group_instance_id="crash-1")):
        await until(lambda: len(again.handled) == 5)


async def test_empty_polls_are_delivered(kafka_bootstrap: str) -> None:
    harness, handler = await build_harness(kafka_bootstrap), RecordingHandler()
    async with running(harness.consumer(handler)) as consumer:
        await until(lambda: handler.empty_polls > 3)
        assert consumer.ready


async def test_while_a_dependency_is_away_the_same_poll_comes_again_and_the_membership_stays(
    kafka_bootstrap: str,
) -> None:
    """For longer than the session lasts: the group must not think the member dead."""
    harness, handler = await build_harness(kafka_bootstrap), RecordingHandler(outages=5)
    await harness.produce(range(10))
    rebalances = REBALANCES.labels(harness.group)
    async with running(harness.consumer(handler, kafka_session_timeout_ms=1_000)) as consumer:
        await until(lambda: bool(handler.journal))
        await harness.produce(range(10, 20))
        await until(lambda: len(handler.handled) == 20)
        assert consumer.alive
        assert rebalances._value.get() == 1
    assert handler.journal[:5] == ["away 0-9"] * 5
    assert handler.handled == list(range(20))
    assert await harness.committed() == 20


async def test_who_waits_for_a_dependency_is_alive_and_can_be_stopped(kafka_bootstrap: str) -> None:
    harness, handler, clock = await build_harness(kafka_bootstrap), RecordingHandler(outages=1_000_000), Clock()
    await harness.produce(range(3))
    async with running(harness.consumer(handler, clock=clock)) as consumer:
        await until(lambda: len(handler.journal) > 1)
        tried = len(handler.journal)
        clock.added_s += 10 * STALL_TIMEOUT_S
        await until(lambda: len(handler.journal) > tried)
        assert consumer.alive
        empty = handler.empty_polls
        async with asyncio.timeout(3):
            await consumer.stop()
    assert handler.empty_polls == empty, "what is given up is not to be finished either"
    assert await harness.committed() is None


async def test_who_gave_up_a_poll_finishes_those_that_come_after_it(kafka_bootstrap: str) -> None:
    harness, handler, stopping = await build_harness(kafka_bootstrap), RecordingHandler(outages=1_000_000), False
    partition = TopicPartition(harness.topic, 0)
    handler.on_poll = lambda poll: {} if poll or not stopping else {partition: 5}
    await harness.produce(range(3))
    async with running(harness.consumer(handler)) as consumer:
        await until(lambda: bool(handler.journal))
        await consumer.on_partitions_revoked([])
        handler.outages = 0
        await harness.produce([3, 4])
        await until(lambda: 4 in handler.handled)
        stopping = True
    assert await harness.committed() == 5


async def test_a_defect_of_the_handler_is_not_the_end(kafka_bootstrap: str) -> None:
    harness, handler = await build_harness(kafka_bootstrap), RecordingHandler(defects=2)
    await harness.produce(range(4))
    async with running(harness.consumer(handler)):
        await until(lambda: len(handler.handled) == 4)
    assert await harness.committed() == 4
    assert handler.journal.count("revoked") >= 2


async def test_what_was_done_before_a_defect_is_committed(kafka_bootstrap: str) -> None:
    harness, handler = await build_harness(kafka_bootstrap), RecordingHandler()
    await harness.produce(range(4))
    async with running(harness.consumer(handler)):
        await until(lambda: len(handler.handled) == 4)
        handler.defects = 1
        await harness.produce([4])
        await until(lambda: len(handler.handled) == 5)
    assert handler.handled == list(range(5))


async def test_a_defect_that_stays_turns_the_process_dead(kafka_bootstrap: str) -> None:
    harness, handler, clock = await build_harness(kafka_bootstrap), RecordingHandler(defects=1_000_000), Clock()
    await harness.produce(range(4))
    async with running(harness.consumer(handler, clock=clock)) as consumer:
        await until(lambda: handler.defects < 1_000_000)
        await until(lambda: consumer.alive)
        clock.added_s += STALL_TIMEOUT_S
        before = handler.defects
        await until(lambda: handler.defects < before and not consumer.alive)
        handler.defects = 0
        await until(lambda: consumer.alive)


async def test_a_handler_that_never_returns_turns_the_process_dead(kafka_bootstrap: str) -> None:
    harness, handler, clock = await build_harness(kafka_bootstrap), RecordingHandler(hold=asyncio.Event()), Clock()
    await harness.produce(range(4))
    async with running(harness.consumer(handler, clock=clock)) as consumer:
        await asyncio.wait_for(handler.entered.wait(), 15)
        await until(lambda: consumer.alive)
        clock.added_s += STALL_TIMEOUT_S
        await until(lambda: not consumer.alive)
        assert handler.hold is not None
        handler.hold.set()
        await until(lambda: consumer.alive)


async def test_stopping_finishes_the_poll_at_hand_and_commits_it(kafka_bootstrap: str) -> None:
    harness, handler = await build_harness(kafka_bootstrap), RecordingHandler(hold=asyncio.Event())
    await harness.produce(range(6))
    consumer = harness.consumer(handler)
    await consumer.start()
    await asyncio.wait_for(handler.entered.wait(), 15)
    stopping = asyncio.create_task(consumer.stop())
    await asyncio.sleep(0)
    assert not stopping.done()
    assert handler.hold is not None
    handler.hold.set()
    await stopping
    assert handler.handled == list(range(6))
    assert await harness.committed() == 6


async def test_what_a_stopped_partition_holds_back_is_lag(kafka_bootstrap: str) -> None:
    """It was fetched, and is not handled."""
    harness, handler = await build_harness(kafka_bootstrap), RecordingHandler()
    partition = TopicPartition(harness.topic, 0)
    stopped: set[TopicPartition] = set()

    def stop_in_the_middle(poll: Poll) -> Offsets:
        if poll:
            stopped.add(partition)
        return dict.fromkeys(poll, 4)

    handler.on_poll = stop_in_the_middle
    await harness.produce(range(10))
    async with running(harness.consumer(handler, halted_partitions=lambda: stopped)) as consumer:
        await until(lambda: LAG.labels(harness.group, harness.topic, "0")._value.get() == 6)
        assert consumer.alive, "a restart would let the next thousand through"
        assert HALTED.labels(harness.group)._value.get() == 1
    assert await harness.committed() == 4


async def test_what_a_stopped_partition_holds_back_is_lag_once_and_stays_there_while_a_dependency_is_away(
    kafka_bootstrap: str,
) -> None:
    harness, handler = await build_harness(kafka_bootstrap, partitions=2), RecordingHandler()
    bad, stopped = TopicPartition(harness.topic, 0), set[TopicPartition]()
    is_away = True

    def stop(poll: Poll) -> Offsets:
        stopped.update(partition for partition in poll if partition == bad)
        if stopped and is_away and bad not in poll:
            raise UnavailableError("MongoDB")
        return {partition: 4 if partition == bad else records[-1].offset + 1 for partition, records in poll.items()}

    handler.on_poll = stop
    await harness.produce(range(10))
    retries, lag = RETRIES.labels(harness.group)._value, LAG.labels(harness.group, harness.topic, "0")._value
    with capture_logs() as lines:
        async with running(harness.consumer(handler, halted_partitions=lambda: stopped)):
            await until(lambda: retries.get() > 1)
            assert lag.get() == 6
            is_away = False
            await harness.produce([10], partition=1)
            await until(lambda: 10 in handler.handled)
            polls = handler.empty_polls
            await until(lambda: handler.empty_polls > polls + 5)
    assert handler.handled == list(range(11))
    assert [line["partition"] for line in lines if line["event"] == "partition halted"] == [0], "told once"
    assert await harness.committed() == 4


async def test_a_partition_waits_for_a_dependency_of_its_own_and_the_others_go_on(kafka_bootstrap: str) -> None:
    """What it waits for is lag; the member stays in its group, and reads on where the partition waits."""
    harness, handler = await build_harness(kafka_bootstrap, partitions=2), RecordingHandler()
    waiting, is_away, rebalances = TopicPartition(harness.topic, 0), True, REBALANCES.labels(harness.group)._value

    def wait(poll: Poll) -> Offsets:
        offsets = {partition: records[-1].offset + 1 for partition, records in poll.items()}
        if waiting in poll and is_away:
            raise PartitionsUnavailableError("the registry", [waiting], offsets | {waiting: 4})
        return offsets

    handler.on_poll = wait
    await harness.produce(range(10))
    retries, lag = RETRIES.labels(harness.group)._value, LAG.labels(harness.group, harness.topic, "0")._value
    async with running(harness.consumer(handler)) as consumer:
        await until(lambda: retries.get() > 0)
        for value in range(10, 15):
            await harness.produce([value], partition=1)
            await until(lambda value=value: value in handler.handled)  # type: ignore[misc]
        await until(lambda: lag.get() == 6)
        assert LAG_SECONDS.labels(harness.group)._value.get() > 0
        assert await harness.committed() == 4
        assert consumer.alive
        is_away = False
        await until(lambda: handler.handled[-1] == 9 and lag.get() == 0)
        assert rebalances.get() == 1
    assert await harness.committed() == 10
    assert await harness.committed(1) == 5
    others = [value for value in handler.handled if value >= 10]
    assert others == list(range(10, 15)), "read once"
    assert handler.handled[-6:] == list(range(4, 10))


async def test_what_the_handler_has_begun_and_cannot_finish_is_lag(kafka_bootstrap: str) -> None:
    """Though the poll that brought it is over, and nothing comes after it."""
    harness, handler = await build_harness(kafka_bootstrap), RecordingHandler()
    lag = LAG.labels(harness.group, harness.topic, "0")
    is_away = True

    def begin(poll: Poll) -> Offsets:
        if poll or not handler.handled:
            return dict.fromkeys(poll, 4)
        if is_away:
            raise UnavailableError("MongoDB")
        return {TopicPartition(harness.topic, 0): 10}

    handler.on_poll = begin
    await harness.produce(range(10))
    async with running(harness.consumer(handler)):
        await until(lambda: lag._value.get() == 6)
        is_away = False
        await until(lambda: lag._value.get() == 0)
    assert await harness.committed() == 10


@pytest.mark.parametrize("codec", [0, 1], ids=["plain", "gzip"])
async def test_headers_may_have_any_name(kafka_bootstrap: str, codec: int) -> None:
    """F14: brokers take names that are no UTF-8; the partition must go on, and what is beside them be read once."""
    harness, handler, names = await build_harness(kafka_bootstrap), RecordingHandler(), []

    def note(poll: Poll) -> None:
        names.extend([record.headers for records in poll.values() for record in records])

    handler.on_poll = note
    await harness.produce_named(b"a", b"\xff\xfeb", "é".encode(), b"\xc3", codec=codec)
    async with running(harness.consumer(handler)):
        await until(lambda: len(handler.handled) >= 4)
    assert handler.handled == [0, 1, 2, 3]
    assert names == [((name, b"of the header"),) for name in ("a", "\ufffd\ufffdb", "é", "\ufffd")]
    assert await harness.committed() == 4


async def test_it_waits_until_it_may_begin(kafka_bootstrap: str) -> None:
    harness, handler, may = await build_harness(kafka_bootstrap), RecordingHandler(), False
    await harness.produce(range(3))
    async with running(harness.consumer(handler, start_when=lambda: may)) as consumer:
        turned = consumer._stalls.last_loop_at
        await until(lambda: consumer._stalls.last_loop_at > turned)
        assert not consumer.ready
        assert consumer.alive
        may = True
        await until(lambda: len(handler.handled) == 3)


async def test_a_topic_may_come_later(kafka_bootstrap: str) -> None:
    harness, handler, clock = (
        ConsumerHarness(kafka_bootstrap, a_name("later"), a_name("group")),
        RecordingHandler(),
        Clock(),
    )
    async with running(harness.consumer(handler, clock=clock)) as consumer:
        await until(lambda: consumer._kafka is not None and handler.empty_polls > 0)
        assert not consumer.ready
        await make_topics(kafka_bootstrap, {harness.topic: 1})
        await harness.produce(range(3))
        clock.added_s += STALL_TIMEOUT_S  # it rejoins after this time without partitions
        await until(lambda: len(handler.handled) == 3)
        assert consumer.alive
