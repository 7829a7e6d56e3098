"""Records that retention deletes before they are read are counted and logged."""

import asyncio

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from structlog.testing import capture_logs

from services.chassis.kafka.lag import LOST
from tests.chassis.eventually import until
from tests.chassis.kafka.consumer_fixtures import ConsumerHarness, RecordingHandler, build_harness, running


async def test_records_that_retention_took_are_noticed(kafka_bootstrap: str) -> None:
    """F30: the group was away for longer than records are kept."""
    harness, handler = await build_harness(kafka_bootstrap), RecordingHandler()
    await harness.produce(range(10))
    async with running(harness.consumer(handler)):
        await until(lambda: len(handler.handled) == 10)
    await harness.produce(range(10, 30))
    await delete_records(harness, before=25)
    lost = LOST.labels(harness.topic)
    assert lost._value.get() == 0
    async with running(harness.consumer(handler)):
        await until(lambda: 29 in handler.handled)
        await until(lambda: lost._value.get() == 15)
    assert handler.handled[10:] == [25, 26, 27, 28, 29]


async def test_a_loss_is_reported_once(kafka_bootstrap: str) -> None:
    """Nothing is left that could be handled and committed."""
    harness, handler = await build_harness(kafka_bootstrap), RecordingHandler()
    await harness.produce(range(10))
    async with running(harness.consumer(handler)):
        await until(lambda: len(handler.handled) == 10)
    await harness.produce(range(10, 30))
    await delete_records(harness, before=30)
    lost = LOST.labels(harness.topic)._value
    async with running(harness.consumer(handler)):
        await until(lambda: lost.get() == 20)
        async with asyncio.timeout(10):
            while await harness.committed() != 30:  # noqa: ASYNC110 - only the broker knows
                await asyncio.sleep(0.05)
    async with running(harness.consumer(handler)):
        await harness.produce([30])
        await until(lambda: 30 in handler.handled)
    assert lost.get() == 20


@pytest.mark.parametrize("remaining", [5, 0])
async def test_records_that_retention_deletes_in_front_of_a_running_member_are_noticed(
    kafka_bootstrap: str, remaining: int
) -> None:
    """F30: the member stays in its group and reads nothing meanwhile, as while it waits for a dependency."""
    harness, handler = await build_harness(kafka_bootstrap), RecordingHandler()
    lost, partition = LOST.labels(harness.topic)._value, TopicPartition(harness.topic, 0)
    await harness.produce(range(10))
    with capture_logs() as lines:
        async with running(harness.consumer(handler)) as consumer:
            await until(lambda: len(handler.handled) == 10)
            assert consumer._kafka is not None
            consumer._kafka.pause(partition)
            polls = handler.empty_polls
            await until(lambda: handler.empty_polls > polls + 5)  # no fetch is under way
            await harness.produce(range(10, 30))
            await delete_records(harness, before=30 - remaining)
            consumer._kafka.resume(partition)
            await until(lambda: lost.get() == 20 - remaining and len(handler.handled) == 10 + remaining)
            await harness.produce([30])
            await until(lambda: handler.handled[-1] == 30)
            assert handler.journal == [], "it stays in its group"
    assert lost.get() == 20 - remaining
    assert handler.handled[10:] == list(range(30 - remaining, 31))
    told = [line for line in lines if line["event"] == "records lost to retention"]
    assert [(line["topic"], line["partition"], line["records"]) for line in told] == [
        (harness.topic, 0, 20 - remaining)
    ]
    assert await harness.committed() == 31


async def test_an_offset_behind_the_end_of_the_log_is_no_loss_to_retention(kafka_bootstrap: str) -> None:
    """The broker lost records, or the topic was created again: everything is read again, and that is logged."""
    harness, handler = await build_harness(kafka_bootstrap), RecordingHandler()
    await harness.produce(range(10))
    async with running(harness.consumer(handler)) as consumer:
        await until(lambda: len(handler.handled) == 10)
        assert consumer._kafka is not None
        with capture_logs() as lines:
            consumer._kafka.seek(TopicPartition(harness.topic, 0), 50)
            await until(lambda: len(handler.handled) == 20)
    assert handler.handled == [*range(10), *range(10)]
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["offset beyond the end of the log"]
    assert LOST.labels(harness.topic)._value.get() == 0


async def delete_records(harness: ConsumerHarness, *, before: int) -> None:
    """Delete the records before this offset, as retention does."""
    admin = AIOKafkaAdminClient(bootstrap_servers=harness.bootstrap)
    await admin.start()
    await admin.delete_records({TopicPartition(harness.topic, 0): RecordsToDelete(before_offset=before)})
    await admin.close()
