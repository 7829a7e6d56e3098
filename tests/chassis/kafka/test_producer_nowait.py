"""Batches that are sent without a task have the outcomes of those that are awaited."""

import asyncio
from collections.abc import Sequence

import pytest

from sandbox.kafka import KafkaCluster
from services.chassis.kafka.producer import RECORDS, SENDS, Producer, ProducerRecord, RecordTooLargeError
from services.chassis.kafka.record_format import encode_record
from services.chassis.runtime.errors import UnavailableError
from tests.chassis.eventually import until
from tests.chassis.kafka.kafka_fixtures import a_name, frozen_broker, make_topics, read_all, settings
from tests.chassis.kafka.producer_fixtures import reconnects, running_producer


def a_batch(*values: bytes) -> list[bytes]:
    return [encode_record(offset, b"k", value, (("n", b"c"),)) for offset, value in enumerate(values)]


async def send(producer: Producer, topic: str, records: Sequence[bytes]) -> Exception | None:
    """Send a batch and wait for its outcome."""
    outcome: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
    producer.send_nowait(topic, 0, records, outcome.set_result)
    return await outcome


async def test_batches_of_one_partition_queue_up_and_keep_their_order(kafka_bootstrap: str) -> None:
    topic = a_name("nowait")
    await make_topics(kafka_bootstrap, {topic: 1})
    async with running_producer(kafka_bootstrap) as producer:
        await producer.partitions(topic)
        assert producer.leader(topic, 0) is not None
        sends = [send(producer, topic, a_batch(b"%d" % number, b"x")) for number in range(20)]
        whole = producer.send_batch(topic, 0, [ProducerRecord(b"k", b"whole")] * 3)
        assert await asyncio.gather(*sends, whole) == [None] * 21
    found = await read_all(kafka_bootstrap, topic)
    numbers = [record.value for record in found if record.value not in (b"x", b"whole")]
    assert numbers == [b"%d" % number for number in range(20)]
    assert found[0].headers == (("n", b"c"),)
    assert (SENDS.labels(topic, "acknowledged")._value.get(), RECORDS.labels(topic)._value.get()) == (21, 43)


async def test_a_batch_that_the_topic_does_not_accept_is_too_large(kafka_bootstrap: str) -> None:
    topic = a_name("nowait-large")
    await make_topics(kafka_bootstrap, {topic: 1}, config={"max.message.bytes": "2000"})
    async with running_producer(kafka_bootstrap, kafka_compression="none") as producer:
        await producer.partitions(topic)
        assert isinstance(await send(producer, topic, a_batch(b"x" * 3_000)), RecordTooLargeError)
        await producer.wait_ready(20)
        await producer.partitions(topic)
        assert await send(producer, topic, a_batch(b"x")) is None
    assert SENDS.labels(topic, "failed")._value.get() == 1


async def test_without_a_connection_nothing_is_sent() -> None:
    producer = Producer(settings("127.0.0.1:1"), client_id="test")
    assert producer.leader("t", 0) is None
    with pytest.raises(UnavailableError):
        producer.send_nowait("t", 0, a_batch(b"v"), lambda _error: None)


async def test_a_broker_that_does_not_answer_is_an_unknown_outcome_once(own_kafka: KafkaCluster) -> None:
    topic, before = a_name("nowait-frozen"), reconnects()
    await make_topics(own_kafka.bootstrap_servers, {topic: 1})
    async with running_producer(own_kafka.bootstrap_servers, kafka_send_timeout_s=0.5) as producer:
        await producer.partitions(topic)
        async with frozen_broker(own_kafka.brokers[0]):
            outcomes = await asyncio.gather(*(send(producer, topic, a_batch(b"%d" % n)) for n in range(5)))
            assert [type(outcome) for outcome in outcomes] == [UnavailableError] * 5
            # Its batches fail as it is closed: nobody is told a second time.
            await until(lambda: not producer._retiring)
        await producer.wait_ready(20)
        assert reconnects() == before + 1
        await producer.partitions(topic)
        assert await send(producer, topic, a_batch(b"after")) is None
    values = [record.value for record in await read_all(own_kafka.bootstrap_servers, topic)]
    assert len(values) == len(set(values))
    assert b"after" in values


async def test_a_producer_that_was_stopped_sends_nothing(kafka_bootstrap: str) -> None:
    topic = a_name("nowait-stopped")
    await make_topics(kafka_bootstrap, {topic: 1})
    async with running_producer(kafka_bootstrap) as producer:
        await producer.partitions(topic)
        buffered = asyncio.create_task(send(producer, topic, a_batch(b"buffered")))
        await asyncio.sleep(0)
    assert await buffered is None
    with pytest.raises(UnavailableError):
        producer.send_nowait(topic, 0, a_batch(b"late"), lambda _error: None)
    assert [record.value for record in await read_all(kafka_bootstrap, topic)] == [b"buffered"]
