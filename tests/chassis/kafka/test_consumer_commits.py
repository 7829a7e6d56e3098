"""What is committed when committing fails, a defect comes between, or partitions are given away: on a real broker."""

import asyncio
from collections.abc import Collection

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, KafkaConnectionError

from services.chassis.kafka import consumer as consumer_module
from services.chassis.kafka.consumer import Offsets, Poll
from tests.chassis.eventually import until
from tests.chassis.kafka.consumer_fixtures import Clock, RecordingHandler, build_harness, running


@pytest.mark.parametrize(
    "trouble", [KafkaConnectionError(), TimeoutError()], ids=lambda trouble: type(trouble).__name__
)
async def test_offsets_whose_commit_failed_are_committed_later(
    kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    """Nothing else comes that could be committed in their place."""
    harness, handler, failed = (
        await build_harness(kafka_bootstrap),
        RecordingHandler(),
        list[dict[TopicPartition, int]](),
    )
    clock = Clock()
    async with running(harness.consumer(handler, clock=clock)) as consumer:
        await until(lambda: consumer.ready)
        assert consumer._kafka is not None
        commit = consumer._kafka.commit

        async def fail_once(offsets: dict[TopicPartition, int]) -> None:
            if not failed:
                failed.append(dict(offsets))
                raise trouble
            await commit(offsets)

        monkeypatch.setattr(consumer._kafka, "commit", fail_once)
        await harness.produce(range(3))
        await until(lambda: len(handler.handled) == 3)

        async def are_committed() -> bool:
            clock.added_s += 1.0
            return await harness.committed() == 3

        await until(are_committed)
    assert failed == [{TopicPartition(harness.topic, 0): 3}]


async def test_offsets_that_could_not_be_committed_before_their_partition_was_given_away_are_forgotten(
    kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has it next reads them again, and may be far beyond them when it comes back."""
    harness, handler = await build_harness(kafka_bootstrap), RecordingHandler()
    partition = TopicPartition(harness.topic, 0)
    tried: list[dict[TopicPartition, int]] = []

    async def fail(offsets: dict[TopicPartition, int]) -> None:
        tried.append(dict(offsets))
        raise KafkaConnectionError

    async with running(harness.consumer(handler, clock=lambda: 0.0)) as consumer:
        await until(lambda: consumer.ready)
        monkeypatch.setattr(consumer._kafka, "commit", fail)
        await harness.produce(range(3))
        await until(lambda: len(handler.handled) == 3)
        await consumer.on_partitions_revoked([partition])
    assert tried == [{partition: 3}]


async def test_offsets_that_the_group_does_not_take_are_somebody_elses(
    kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would be refused again, and again; and one day be older than what the other has committed."""
    harness, handler, tried = (
        await build_harness(kafka_bootstrap),
        RecordingHandler(),
        list[dict[TopicPartition, int]](),
    )

    async def refuse(offsets: dict[TopicPartition, int]) -> None:
        tried.append(dict(offsets))
        raise CommitFailedError

    clock = Clock()
    async with running(harness.consumer(handler, clock=clock)) as consumer:
        await until(lambda: consumer.ready)
        monkeypatch.setattr(consumer._kafka, "commit", refuse)
        await harness.produce(range(3))
        await until(lambda: len(handler.handled) == 3)
        clock.added_s += 1.0
        await until(lambda: bool(tried))
        clock.added_s += 1.0
        polls = handler.empty_polls
        await until(lambda: handler.empty_polls > polls + 2)
    assert tried == [{TopicPartition(harness.topic, 0): 3}]


async def test_a_defect_while_a_poll_is_finished_keeps_nothing_else_from_being_committed(kafka_bootstrap: str) -> None:
    harness, handler, stopping = await build_harness(kafka_bootstrap), RecordingHandler(), False

    def fail(poll: Poll) -> None:
        if stopping and not poll:
            raise KeyError("a defect")

    handler.on_poll = fail
    await harness.produce(range(3))
    async with running(harness.consumer(handler)):
        await until(lambda: len(handler.handled) == 3)
        stopping = True
    assert await harness.committed() == 3
    assert handler.journal == ["revoked"]


async def test_a_defect_while_the_handler_forgets_keeps_nobody_from_leaving(kafka_bootstrap: str) -> None:
    class Clumsy(RecordingHandler):
        def on_revoked(self, partitions: Collection[TopicPartition]) -> None:
            super().on_revoked(partitions)
            raise KeyError("a defect")

    harness, handler, before = await build_harness(kafka_bootstrap), Clumsy(), asyncio.all_tasks()
    await harness.produce(range(3))
    async with running(harness.consumer(handler)):
        await until(lambda: len(handler.handled) == 3)
    assert handler.journal == ["revoked"]
    assert await harness.committed() == 3
    await until(lambda: not asyncio.all_tasks() - before)


async def test_a_handler_that_hangs_keeps_nobody_from_leaving(
    kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F26: the drain has ten seconds; what was done is committed all the same."""
    monkeypatch.setattr(consumer_module, "COMMIT_TIMEOUT_S", 1.0)

    class Hanging(RecordingHandler):
        async def handle(self, poll: Poll) -> Offsets:
            if not poll and stopping:
                await asyncio.Event().wait()
            return await super().handle(poll)

    harness, handler, stopping = await build_harness(kafka_bootstrap), Hanging(), False
    await harness.produce(range(3))
    async with running(harness.consumer(handler, clock=lambda: 0.0)) as consumer:
        await until(lambda: len(handler.handled) == 3)
        await until(lambda: consumer._at_safe_point)
        stopping = True
        async with asyncio.timeout(5):
            await consumer.stop()
    assert await harness.committed() == 3


async def test_offsets_of_what_is_not_ours_keep_nothing_else_from_being_committed(kafka_bootstrap: str) -> None:
    harness, handler = await build_harness(kafka_bootstrap), RecordingHandler()
    ours, another = (TopicPartition(harness.topic, number) for number in (0, 7))
    handler.on_poll = lambda poll: {ours: 3, another: 9} if poll else None
    await harness.produce(range(3))
    async with running(harness.consumer(handler)):
        await until(lambda: len(handler.handled) == 3)
    assert await harness.committed() == 3
