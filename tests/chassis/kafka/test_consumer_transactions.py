"""What other teams write in transactions is read once they say that it holds, and never where they take it back."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer

from services.chassis.kafka.lag import RECORDS as LAG
from services.chassis.kafka.stall_detector import STALL_TIMEOUT_S
from tests.chassis.eventually import until
from tests.chassis.kafka.consumer_fixtures import Clock, ConsumerHarness, RecordingHandler, build_harness, running


@asynccontextmanager
async def a_producer(harness: ConsumerHarness) -> AsyncIterator[AIOKafkaProducer]:
    """Another team's, which writes in transactions."""
    async with AIOKafkaProducer(bootstrap_servers=harness.bootstrap, transactional_id=harness.group) as producer:
        yield producer


async def write(producer: AIOKafkaProducer, harness: ConsumerHarness, numbers: Iterable[int]) -> None:
    for number in numbers:
        await producer.send_and_wait(harness.topic, b"%d" % number, partition=0)


async def test_markers_of_transactions_are_passed_over(kafka_bootstrap: str) -> None:
    """They have offsets, and nothing in them; they must not count as records that wait."""
    harness, handler, clock = await build_harness(kafka_bootstrap), RecordingHandler(), Clock()
    async with a_producer(harness) as producer:
        for values in ([0, 1], [2]):
            async with producer.transaction():
                await write(producer, harness, values)
    lag = LAG.labels(harness.group, harness.topic, "0")._value
    lag.set(-1)
    async with running(harness.consumer(handler, clock=clock)) as consumer:
        await until(lambda: len(handler.handled) == 3)
        clock.added_s += 1.0
        await until(lambda: lag.get() == 0)
        clock.added_s += STALL_TIMEOUT_S
        polls = handler.empty_polls
        await until(lambda: handler.empty_polls > polls + 2 and consumer.alive)
    assert handler.handled == [0, 1, 2]
    assert await harness.committed() == 4
    await harness.produce([3])
    async with running(harness.consumer(handler)):
        await until(lambda: 3 in handler.handled)
    assert handler.handled == [0, 1, 2, 3]


async def test_an_aborted_transaction_is_as_if_it_had_not_been(kafka_bootstrap: str) -> None:
    harness, handler, clock = await build_harness(kafka_bootstrap), RecordingHandler(), Clock()
    await harness.produce([0])
    async with a_producer(harness) as producer, running(harness.consumer(handler, clock=clock)) as consumer:
        for numbers in ([1, 2], [3]):
            await producer.begin_transaction()
            await write(producer, harness, numbers)
            await producer.abort_transaction()
        await until(lambda: handler.handled == [0])
        polls = handler.empty_polls
        await until(lambda: handler.empty_polls > polls + 2)
        clock.added_s += STALL_TIMEOUT_S
        polls = handler.empty_polls
        await until(lambda: handler.empty_polls > polls + 2 and consumer.alive)
        await harness.produce([4])
        await until(lambda: handler.handled[-1] == 4)
    assert handler.handled == [0, 4]


async def test_an_open_transaction_holds_up_what_is_behind_it_and_nothing_else(kafka_bootstrap: str) -> None:
    """Nobody knows yet whether it holds. Restarting the process would not help, and what waits is lag."""
    harness, handler, clock = await build_harness(kafka_bootstrap), RecordingHandler(), Clock()
    lag = LAG.labels(harness.group, harness.topic, "0")._value
    async with a_producer(harness) as producer, running(harness.consumer(handler, clock=clock)) as consumer:
        await harness.produce([0])
        await producer.begin_transaction()
        await write(producer, harness, [1, 2])
        await harness.produce([3])
        await until(lambda: handler.handled == [0])
        clock.added_s += 1.0
        await until(lambda: lag.get() == 3)
        clock.added_s += STALL_TIMEOUT_S
        polls = handler.empty_polls
        await until(lambda: handler.empty_polls > polls + 2 and consumer.alive)
        assert handler.handled == [0]
        await producer.commit_transaction()
        await until(lambda: len(handler.handled) == 4)
    assert handler.handled == [0, 1, 2, 3]
