"""The consumer while its broker is not there yet, is killed, or stands still."""

import asyncio

from sandbox.kafka import KafkaCluster
from services.chassis.kafka.stall_detector import STALL_TIMEOUT_S
from tests.chassis.eventually import until
from tests.chassis.kafka.consumer_fixtures import Clock, ConsumerHarness, RecordingHandler, build_harness, running
from tests.chassis.kafka.kafka_fixtures import frozen_broker, kill_broker, restart_broker


async def test_without_a_broker_it_starts_is_alive_and_stops(kafka_bootstrap: str) -> None:
    del kafka_bootstrap
    clock = Clock()
    harness = ConsumerHarness("127.0.0.1:1", "any", "any")
    async with running(harness.consumer(RecordingHandler(), clock=clock)) as consumer:
        clock.added_s += 10 * STALL_TIMEOUT_S
        await until(lambda: consumer.alive)
        assert not consumer.ready
        async with asyncio.timeout(3):
            await consumer.stop()


async def test_it_starts_before_the_broker_does(own_kafka: KafkaCluster) -> None:
    """F27: ready once the broker is there, not before."""
    harness, handler = await build_harness(own_kafka.bootstrap_servers), RecordingHandler()
    await harness.produce(range(10))
    await kill_broker(own_kafka)
    try:
        async with running(harness.consumer(handler)) as consumer:
            turned = consumer._stalls.last_loop_at
            await until(lambda: consumer._stalls.last_loop_at > turned)
            assert not consumer.ready
            await restart_broker(own_kafka)
            await until(lambda: consumer.ready and len(handler.handled) == 10, deadline_s=30)
    finally:
        if not own_kafka.is_running:
            await restart_broker(own_kafka)


async def test_it_survives_a_killed_broker(own_kafka: KafkaCluster) -> None:
    """F6: what was handled and not yet committed may come again; nothing is skipped."""
    harness, handler = await build_harness(own_kafka.bootstrap_servers), RecordingHandler()
    await harness.produce(range(10))
    async with running(harness.consumer(handler)) as consumer:
        await until(lambda: len(handler.handled) == 10)
        await kill_broker(own_kafka)
        await restart_broker(own_kafka)
        await harness.produce(range(10, 20))
        await until(lambda: 19 in handler.handled, deadline_s=30)
        assert consumer.alive
    assert sorted(set(handler.handled)) == list(range(20))
    assert await harness.committed() == 20


async def test_stopping_does_not_wait_for_a_frozen_broker_for_ever(own_kafka: KafkaCluster) -> None:
    """F7, F26: the drain has ten seconds; commit, leaving the group and closing must fit in."""
    before = asyncio.all_tasks()
    harness, handler = await build_harness(own_kafka.bootstrap_servers), RecordingHandler()
    await harness.produce(range(10))
    consumer = harness.consumer(handler)
    await consumer.start()
    await until(lambda: len(handler.handled) == 10)
    async with frozen_broker(own_kafka.brokers[0]), asyncio.timeout(9):
        await consumer.stop()
    await until(lambda: not asyncio.all_tasks() - before)
