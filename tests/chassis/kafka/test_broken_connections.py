"""Connections break: callers get their errors, and the event loop reports none, so that each it reports is a defect."""

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import IncompatibleBrokerVersion, KafkaConnectionError, OutOfOrderSequenceNumber
from aiokafka.protocol.admin import ApiVersionRequest

from sandbox.kafka import KafkaCluster
from services.chassis.kafka import aiokafka_patches
from services.chassis.kafka.consumer_client import close_client, create_client
from services.chassis.kafka.describe_quorum import DescribeQuorumRequest
from services.chassis.kafka.producer import Producer, ProducerRecord
from services.chassis.runtime.errors import UnavailableError
from tests.chassis.eventually import until
from tests.chassis.kafka.kafka_fixtures import a_name, frozen_broker, make_topics, settings
from tests.chassis.kafka.producer_fixtures import reconnects, running_producer


@pytest.fixture
async def loop_errors() -> AsyncIterator[list[str]]:
    """Everything that the event loop's exception handler was given."""
    loop = asyncio.get_running_loop()
    reported: list[str] = []
    loop.set_exception_handler(lambda _, context: reported.append(f"{context['message']}: {context.get('exception')}"))
    yield reported
    loop.set_exception_handler(None)


async def forget_garbage() -> None:
    """Futures report exceptions that nobody retrieved when they are collected."""
    for _ in range(3):
        gc.collect()
        await asyncio.sleep(0)


def break_connections(client: AIOKafkaClient) -> None:
    for connection in list(client._conns.values()):
        connection._writer.transport.abort()


async def test_a_commit_that_fails_after_its_callers_timeout(own_kafka: KafkaCluster, loop_errors: list[str]) -> None:
    topic = a_name("broken")
    await make_topics(own_kafka.bootstrap_servers, {topic: 1})
    kafka = create_client(
        settings(own_kafka.bootstrap_servers), group=a_name("group"), client_id="t", poll_timeout_ms=100
    )
    await kafka.start()
    try:
        kafka.subscribe([topic])
        await until(lambda: bool(kafka.assignment()))
        await kafka.commit({TopicPartition(topic, 0): 0})
        async with frozen_broker(own_kafka.brokers[0]):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await kafka.commit({TopicPartition(topic, 0): 0})
            break_connections(kafka._client)
            await until(lambda: not is_committing(kafka))
        await forget_garbage()
    finally:
        await close_client(kafka)
    assert loop_errors == []


def is_committing(_kafka: AIOKafkaConsumer) -> bool:
    return any("_do_commit_offsets" in repr(task.get_coro()) for task in asyncio.all_tasks())


async def test_batches_that_fail_while_they_wait_for_a_retry(own_kafka: KafkaCluster, loop_errors: list[str]) -> None:
    """Their connection breaks, so they are queued again; the callers give up, and the producer is replaced."""
    topic, before = a_name("broken"), reconnects()
    await make_topics(own_kafka.bootstrap_servers, {topic: 2})
    async with running_producer(own_kafka.bootstrap_servers, kafka_send_timeout_s=1.5) as producer:
        await producer.send_batch(topic, 0, [ProducerRecord(b"k", b"v")])
        async with frozen_broker(own_kafka.brokers[0]):
            await send_in_vain(producer, topic)
            await until(lambda: not producer._retiring)
        await until(lambda: producer.ready)
        await producer.send_batch(topic, 0, [ProducerRecord(b"k", b"v")])
    await forget_garbage()
    assert reconnects() == before + 1
    assert loop_errors == []


async def send_in_vain(producer: Producer, topic: str) -> None:
    """Send several batches, break their connection while they are in flight, and wait until all are given up."""
    stuck = producer._producer()
    sends = [
        asyncio.create_task(producer.send_batch(topic, number % 2, [ProducerRecord(b"k", b"v")])) for number in range(6)
    ]
    await until(lambda: bool(pending(stuck)))
    break_connections(stuck.client)
    await until(lambda: not pending(stuck))
    outcomes = await asyncio.gather(*sends, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {UnavailableError}


def pending(producer: AIOKafkaProducer) -> set[Any]:
    found: set[Any] = producer._message_accumulator._pending_batches
    return found


async def test_a_producer_that_can_no_longer_continue(loop_errors: list[str]) -> None:
    """As when brokers have lost its sequence. There is no transaction that could be failed."""
    producer = AIOKafkaProducer(bootstrap_servers="127.0.0.1:1", enable_idempotence=True)
    aiokafka_patches.patch_producer(producer)

    async def fail() -> None:
        raise OutOfOrderSequenceNumber

    task = asyncio.create_task(fail())
    task.add_done_callback(producer._sender._fail_all)
    await asyncio.wait([task])
    await producer.stop()
    del producer, task
    await forget_garbage()
    assert loop_errors == []


class UnversionedConnection(AIOKafkaConnection):  # type: ignore[misc] # aiokafka has no types
    """A connection to anything that accepts one."""

    async def _do_version_lookup(self) -> None:
        self._versions: dict[int, tuple[int, int]] = {}


async def send_over_a_closed_transport() -> BaseException | None:
    """Send a request over a connection that has broken and does not know it yet; return what is raised."""
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0) as server:
        connection = UnversionedConnection("127.0.0.1", server.sockets[0].getsockname()[1])
        await connection.connect()
        # It would close the connection, an iteration of the loop later than the transport is closed.
        connection._read_task.cancel()
        connection._writer.transport.abort()
        for _ in range(3):
            await asyncio.sleep(0)
        try:
            await connection.send(ApiVersionRequest())
        except Exception as error:  # noqa: BLE001 - which one is the question
            return error
        finally:
            connection.close()
    return None


def test_a_request_over_a_closed_transport_fails_as_aiokafka_expects() -> None:
    """uvloop, on which services run, raises a RuntimeError: aiokafka's tasks, which catch `KafkaError`, would end."""
    aiokafka_patches.install()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        error = runner.run(send_over_a_closed_transport())
    assert isinstance(error, KafkaConnectionError), repr(error)


async def test_a_request_that_brokers_are_too_old_for_leaves_the_connection() -> None:
    """Breaks: `BrokerClock` takes old brokers for broken connections, and never reads the time in another way."""
    aiokafka_patches.install()
    accepted: list[asyncio.StreamWriter] = []
    async with await asyncio.start_server(lambda _, writer: accepted.append(writer), "127.0.0.1", 0) as server:
        connection = UnversionedConnection("127.0.0.1", server.sockets[0].getsockname()[1])
        await connection.connect()
        try:
            with pytest.raises(IncompatibleBrokerVersion):
                await connection.send(DescribeQuorumRequest())
            assert connection.connected()
        finally:
            connection.close()
            for writer in accepted:
                writer.close()
