"""How much goes into a batch: on a real broker, whose topics take no more than so much."""

import pytest

from sandbox.kafka import KafkaCluster
from services.chassis.kafka.producer import ProducerRecord, RecordTooLargeError
from tests.chassis.kafka.kafka_fixtures import StoredBatch, a_name, make_topics, read_all, stored_batches
from tests.chassis.kafka.producer_fixtures import reconnects, running_producer


@pytest.mark.parametrize(
    "sizes",
    [
        [(100_000, 200_000)] * 30,
        [(400_000, 0), (700_000, 0)] * 3,
        [(500, 0)] * 5_000,
        [(1_000_000, 0), (1, 0)] * 3,
        [(400_000, 0), (0, 900_000)] * 3,
        [(0, 900_000), (1, 0)] * 3,
    ],
    ids=[
        "heavy headers",
        "light and heavy",
        "many",
        "as large as may be",
        "a heavy header last",
        "a heavy header first",
    ],
)
async def test_records_by_key_that_fill_no_single_batch_go_in_several(
    kafka_bootstrap: str, sizes: list[tuple[int, int]]
) -> None:
    topic = a_name("long-lot")
    await make_topics(kafka_bootstrap, {topic: 1}, config={"max.message.bytes": "1048588"})
    records = [
        ProducerRecord(b"k", b"%d " % number + b"x" * value, (("h", b"x" * header),))
        for number, (value, header) in enumerate(sizes)
    ]
    async with running_producer(kafka_bootstrap, kafka_compression="none") as producer:
        await producer.send_by_key(topic, records)
    arrived = [record.value for record in await read_all(kafka_bootstrap, topic)]
    assert arrived == [record.value for record in records]


async def test_a_record_by_key_that_fills_a_batch_by_its_headers_goes_alone(kafka_bootstrap: str) -> None:
    topic = a_name("alone")
    await make_topics(kafka_bootstrap, {topic: 1}, config={"max.message.bytes": str(8 * 1024 * 1024)})
    heavy = ProducerRecord(b"k", b"heavy", (("h", b"x" * 8_300_000),))
    async with running_producer(kafka_bootstrap) as producer:
        await producer.send_by_key(topic, [ProducerRecord(b"k", b"x" * 400_000), heavy, ProducerRecord(b"k", b"last")])
    arrived = [record.value for record in await read_all(kafka_bootstrap, topic)]
    assert arrived[1:] == [b"heavy", b"last"]


async def test_the_largest_legal_request_is_one_batch(own_kafka: KafkaCluster) -> None:
    topic = a_name("large")
    await make_topics(own_kafka.bootstrap_servers, {topic: 1}, config={"max.message.bytes": str(8 * 1024 * 1024)})
    records = [ProducerRecord(b"k", bytes([n]) * 83_000) for n in range(100)]
    async with running_producer(own_kafka.bootstrap_servers, kafka_compression="none") as producer:
        await producer.send_batch(topic, 0, records)
    assert stored_batches(own_kafka, topic, 0) == [StoredBatch(0, 100)]


async def test_what_fits_into_no_batch_is_refused_before_it_is_sent(kafka_bootstrap: str) -> None:
    topic = a_name("too-large")
    await make_topics(kafka_bootstrap, {topic: 1})
    async with running_producer(kafka_bootstrap) as producer:
        with pytest.raises(RecordTooLargeError):
            await producer.send_batch(topic, 0, [ProducerRecord(b"k", b"x" * 5_000_000)] * 2)
        with pytest.raises(RecordTooLargeError):
            await producer.send(topic, ProducerRecord(b"k", b"x" * 9_000_000))
        assert producer.ready
        await producer.send(topic, ProducerRecord(b"k", b"v"))
    assert len(await read_all(kafka_bootstrap, topic)) == 1


async def test_what_the_topic_refuses_does_not_block_what_comes_after(kafka_bootstrap: str) -> None:
    """F10: the refused batch has used up sequence numbers; without a new producer nothing would get through again."""
    topic = a_name("refusing")
    await make_topics(kafka_bootstrap, {topic: 1}, config={"max.message.bytes": "2000"})
    async with running_producer(kafka_bootstrap, kafka_compression="none") as producer:
        await producer.send(topic, ProducerRecord(b"k", b"1"))
        before = reconnects()
        with pytest.raises(RecordTooLargeError):
            await producer.send_batch(topic, 0, [ProducerRecord(b"k", b"x" * 3_000)])
        assert reconnects() == before + 1
        await producer.wait_ready(5)
        for number in range(3):
            await producer.send(topic, ProducerRecord(b"k", b"%d" % number))
        assert reconnects() == before + 1
    assert len(await read_all(kafka_bootstrap, topic)) == 4
