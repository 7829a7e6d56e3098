"""Producing: the simulated Kafka and the real one append, refuse and recognise the same batches."""

import asyncio
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    ProducerClosed,
    ProducerFenced,
)

from tests.fakes.kafka_fixtures import Kafka

HEADERS = [("site", b"608"), ("empty", b"")]


async def read(kafka: Kafka, topic: str, *, count: int) -> list[Any]:
    """Return the first records of partition 0."""
    consumer = await kafka.consumer(auto_offset_reset="earliest")
    consumer.assign([TopicPartition(topic, 0)])
    found: list[Any] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += records
    return found


async def test_records_have_consecutive_offsets_in_the_order_of_sending(kafka: Kafka) -> None:
    """Key, value and headers come back as they were, under the broker's time."""
    topic, producer = await kafka.create_topic(), await kafka.producer()
    for start in (0, 3):
        builder = producer.create_batch()
        for number in range(start, start + 3):
            assert builder.append(key=b"%d" % number, value=b"v", timestamp=None, headers=HEADERS) is not None
        builder.close()
        acknowledged = await (await producer.send_batch(builder, topic, partition=0))
        assert acknowledged.offset == start
    found = await read(kafka, topic, count=6)
    assert [each.offset for each in found] == list(range(6))
    assert [each.key for each in found] == [b"%d" % number for number in range(6)]
    assert {(each.value, tuple(each.headers), each.timestamp_type) for each in found} == {(b"v", tuple(HEADERS), 1)}
    assert sorted(each.timestamp for each in found) == [each.timestamp for each in found]


async def test_a_record_without_a_value_is_kept(kafka: Kafka) -> None:
    topic, producer = await kafka.create_topic(), await kafka.producer()
    await (await producer.send(topic, value=None, key=b"k", partition=0, headers=[]))
    (found,) = await read(kafka, topic, count=1)
    assert (found.key, found.value) == (b"k", None)


async def test_a_full_batch_takes_no_more(kafka: Kafka) -> None:
    producer = await kafka.producer(max_batch_size=1_000, max_request_size=1_000)
    builder = producer.create_batch()
    taken = 0
    while builder.append(key=b"k", value=b"v" * 100, timestamp=None, headers=[]) is not None:
        taken += 1
    assert 5 <= taken <= 9
    assert builder.size() <= 1_000


async def test_what_the_topic_does_not_allow_is_refused(kafka: Kafka) -> None:
    """A record that is larger than the topic's limit; the producer goes on with the next ones."""
    topic = await kafka.create_topic()
    producer = await kafka.producer(max_batch_size=500_000)
    with pytest.raises(MessageSizeTooLargeError):
        await (await producer.send(topic, value=b"v" * 200_000, key=b"k", partition=0, headers=[]))


async def test_a_closed_producer_sends_nothing(kafka: Kafka) -> None:
    topic, producer = await kafka.create_topic(), await kafka.producer()
    await (await producer.send(topic, value=b"v", key=b"k", partition=0, headers=[]))
    await producer.stop()
    with pytest.raises(ProducerClosed):
        await producer.send(topic, value=b"v", key=b"k", partition=0, headers=[])


async def test_a_batch_that_comes_again_is_appended_once(kafka: Kafka) -> None:
    """The broker knows the last five batches of a producer, and answers with their offsets."""
    topic, producer = await kafka.create_topic(), await kafka.producer_id()
    offsets = [await kafka.append(topic, producer, number, b"%d" % number) for number in range(7)]
    assert offsets == list(range(7))
    for number in (6, 4, 2):
        assert await kafka.append(topic, producer, number, b"%d" % number) == number
    with pytest.raises(OutOfOrderSequenceNumber):
        await kafka.append(topic, producer, 1, b"1")
    assert [each.value for each in await read(kafka, topic, count=7)] == [b"%d" % number for number in range(7)]


async def test_a_gap_in_the_sequence_is_refused(kafka: Kafka) -> None:
    """A producer without any batch so far may begin anywhere: the broker may have forgotten it."""
    topic, producer, another = await kafka.create_topic(), await kafka.producer_id(), await kafka.producer_id()
    await kafka.append(topic, producer, 0, b"a")
    with pytest.raises(OutOfOrderSequenceNumber):
        await kafka.append(topic, producer, 2, b"c")
    assert await kafka.append(topic, producer, 1, b"b") == 1
    assert await kafka.append(topic, another, 7, b"x") == 2
    with pytest.raises(OutOfOrderSequenceNumber):
        await kafka.append(topic, another, 6, b"y")


async def test_a_fenced_producer_fails_for_good(kafka: Kafka) -> None:
    topic, producer = await kafka.create_topic(), await kafka.producer()
    await (await producer.send(topic, value=b"v", key=b"k", partition=0, headers=[]))
    await kafka.fence(producer, topic)
    for _ in range(2):
        with pytest.raises(ProducerFenced):
            await (await producer.send(topic, value=b"v", key=b"k", partition=0, headers=[]))
