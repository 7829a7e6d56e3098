"""The producer on a real broker: whole batches, all or nothing, and `UnavailableError` when that is unknown."""

import asyncio
import struct
from collections import Counter
from collections.abc import Sequence
from time import monotonic
from typing import Any

import pytest
from structlog.contextvars import bound_contextvars, get_contextvars

from sandbox.kafka import KafkaCluster
from services.chassis.kafka.producer import (
    RECORDS,
    SECONDS,
    SENDS,
    Producer,
    ProducerRecord,
    RecordTooLargeError,
    to_headers,
)
from services.chassis.runtime.errors import UnavailableError
from tests.chassis.eventually import until
from tests.chassis.kafka.kafka_fixtures import (
    StoredBatch,
    a_name,
    frozen_broker,
    kill_broker,
    make_topics,
    read_all,
    restart_broker,
    settings,
    stored_batches,
)
from tests.chassis.kafka.producer_fixtures import reconnects, running_producer


@pytest.mark.parametrize(
    ("key", "murmur2"),
    [  # from org.apache.kafka.common.utils.UtilsTest
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
async def test_a_key_goes_where_javas_default_partitioner_puts_it(
    kafka_bootstrap: str, key: bytes, murmur2: int
) -> None:
    topic = a_name("keys")
    await make_topics(kafka_bootstrap, {topic: 7})
    async with running_producer(kafka_bootstrap) as producer:
        assert await producer.partitions(topic) == 7
        assert await producer.partition_for_key(topic, key) == (murmur2 & 0x7FFFFFFF) % 7


async def test_records_arrive_with_key_value_and_headers(kafka_bootstrap: str) -> None:
    topic = a_name("parts")
    await make_topics(kafka_bootstrap, {topic: 1})
    headers = to_headers({"jobId": "j é", "total": "3", "absent": None})
    async with running_producer(kafka_bootstrap) as producer:
        await producer.send(topic, ProducerRecord(b"k", b"v", headers))
        await producer.send_batch(
            topic, 0, [ProducerRecord(b"k", None), ProducerRecord(None, b""), ProducerRecord(None, None)]
        )
    found = await read_all(kafka_bootstrap, topic)
    assert [(record.key, record.value) for record in found] == [(b"k", b"v"), (b"k", None), (None, b""), (None, None)]
    assert found[0].headers == (("jobId", "j é".encode()), ("total", b"3"))


async def test_a_batch_is_one_record_batch_in_one_partition_in_order(own_kafka: KafkaCluster) -> None:
    topic = a_name("batches")
    await make_topics(own_kafka.bootstrap_servers, {topic: 3})
    async with running_producer(own_kafka.bootstrap_servers) as producer:
        for length in (100, 1, 17):
            await producer.send_batch(
                topic, 1, [ProducerRecord(b"%d" % number, b"v" * 1_000) for number in range(length)]
            )
    assert stored_batches(own_kafka, topic, 1) == [StoredBatch(0, 100), StoredBatch(100, 1), StoredBatch(101, 17)]
    found = await read_all(own_kafka.bootstrap_servers, topic)
    assert [(record.partition, record.key) for record in found[:100]] == [(1, b"%d" % number) for number in range(100)]


async def test_batches_are_numbered_so_that_the_broker_takes_none_twice(own_kafka: KafkaCluster) -> None:
    """F9: one whose acknowledgement was lost is sent again."""
    topic = a_name("numbered")
    await make_topics(own_kafka.bootstrap_servers, {topic: 1})
    async with running_producer(own_kafka.bootstrap_servers) as producer:
        await producer.send(topic, ProducerRecord(b"k", b"v"))
    data = (own_kafka.brokers[0].log_directory / f"{topic}-0" / f"{0:020}.log").read_bytes()
    producer_id, _, first = struct.unpack_from(">qhi", data, 43)
    assert (producer_id >= 0, first) == (True, 0)


async def test_many_batches_at_once_for_one_partition_all_get_through(own_kafka: KafkaCluster) -> None:
    topic, at_once = a_name("crowd"), 400
    await make_topics(own_kafka.bootstrap_servers, {topic: 1})
    async with running_producer(own_kafka.bootstrap_servers, kafka_send_timeout_s=10.0) as producer:
        batch = [ProducerRecord(None, b"x" * 200)] * 100
        await asyncio.gather(*(producer.send_batch(topic, 0, batch) for _ in range(at_once)))
    assert [stored.records for stored in stored_batches(own_kafka, topic, 0)] == [100] * at_once


async def test_single_records_share_batches_and_do_not_disturb_whole_ones(own_kafka: KafkaCluster) -> None:
    topic = a_name("mixed")
    await make_topics(own_kafka.bootstrap_servers, {topic: 1})
    async with running_producer(own_kafka.bootstrap_servers) as producer:
        singles = [producer.send(topic, ProducerRecord(b"k", b"single")) for _ in range(200)]
        wholes = [producer.send_batch(topic, 0, [ProducerRecord(b"k", b"%d" % n)] * 50) for n in range(20)]
        await asyncio.gather(
            *(sending for pair in zip(singles, wholes * 10, strict=False) for sending in pair[:1]), *wholes
        )
    found = await read_all(own_kafka.bootstrap_servers, topic)
    assert len(found) == 200 + 20 * 50
    stored = stored_batches(own_kafka, topic, 0)
    assert len(stored) < 200
    whole_values = [[r.value for r in found[s.base_offset :][: s.records]] for s in stored]
    assert sum(values == [b"%d" % n] * 50 for values in whole_values for n in range(20)) == 20


async def test_no_single_record_joins_a_whole_batch_that_waits(own_kafka: KafkaCluster) -> None:
    topic = a_name("apart")
    await make_topics(own_kafka.bootstrap_servers, {topic: 1})
    producer = Producer(settings(own_kafka.bootstrap_servers), client_id="test", linger_ms=300)
    await producer.start()
    await producer.wait_ready(20)
    await producer.partitions(topic)
    whole = producer.send_batch(topic, 0, [ProducerRecord(b"k", b"whole")] * 50)
    await asyncio.gather(whole, producer.send(topic, ProducerRecord(b"k", b"single")))
    await producer.stop()
    assert stored_batches(own_kafka, topic, 0) == [StoredBatch(0, 50), StoredBatch(50, 1)]


async def test_records_by_key_keep_their_order_in_each_partition(kafka_bootstrap: str) -> None:
    topic = a_name("by-key")
    await make_topics(kafka_bootstrap, {topic: 4})
    sent = [ProducerRecord(b"key-%d" % (n % 10), b"%d" % n) for n in range(300)]
    async with running_producer(kafka_bootstrap) as producer:
        await producer.send_by_key(topic, sent)
        await producer.send_by_key(topic, [])
        homes = {record.key: await producer.partition_for_key(topic, record.key or b"") for record in sent}
    found = await read_all(kafka_bootstrap, topic)
    for partition in range(4):
        expected = [record.value for record in sent if homes[record.key] == partition]
        assert [record.value for record in found if record.partition == partition] == expected


async def test_what_is_sent_is_counted_by_topic_and_outcome(kafka_bootstrap: str) -> None:
    topic = a_name("counted")
    await make_topics(kafka_bootstrap, {topic: 2}, config={"max.message.bytes": "2000"})
    async with running_producer(kafka_bootstrap, kafka_compression="none") as producer:
        await producer.send(topic, ProducerRecord(b"k", b"v"))
        await producer.send_batch(topic, 1, [ProducerRecord(b"k", b"v")] * 7)
        for refused in (b"x" * 3_000, b"x" * 9_000_000):  # by the broker, and before it is sent
            with pytest.raises(RecordTooLargeError):
                await producer.send(topic, ProducerRecord(b"k", refused))
            await producer.wait_ready(5)
    with pytest.raises(UnavailableError):
        await producer.send_batch(topic, 0, [ProducerRecord(b"k", b"v")])
    assert SENDS.labels(topic, "acknowledged")._value.get() == 2
    assert SENDS.labels(topic, "failed")._value.get() == 3
    assert RECORDS.labels(topic)._value.get() == 8
    samples = [sample for family in SECONDS.collect() for sample in family.samples]
    assert [one.value for one in samples if one.labels == {"topic": topic} and one.name.endswith("_count")] == [2]


async def test_a_missing_topic_is_away_without_costing_the_producer(kafka_bootstrap: str) -> None:
    missing, there = a_name("missing"), a_name("there")
    await make_topics(kafka_bootstrap, {there: 1})
    async with running_producer(kafka_bootstrap, kafka_send_timeout_s=1.0) as producer:
        before = reconnects()
        with pytest.raises(UnavailableError):
            await producer.send(missing, ProducerRecord(b"k", b"v"))
        await producer.send(there, ProducerRecord(b"k", b"v"))
        assert reconnects() == before
        await make_topics(kafka_bootstrap, {missing: 2})
        await producer.send(missing, ProducerRecord(b"k", b"v"))
        await producer.send(there, ProducerRecord(b"k", b"v"))


async def test_stopping_sends_what_is_buffered(kafka_bootstrap: str) -> None:
    topic = a_name("flush")
    await make_topics(kafka_bootstrap, {topic: 1})
    producer = Producer(settings(kafka_bootstrap), client_id="test", linger_ms=300)
    await producer.start()
    await producer.wait_ready(20)
    sending = [asyncio.create_task(producer.send(topic, ProducerRecord(b"k", b"%d" % n))) for n in range(10)]
    await until(lambda: bool(producer._current and producer._current._message_accumulator._batches))
    await producer.stop()
    await asyncio.gather(*sending)
    assert not producer.ready
    with pytest.raises(UnavailableError):
        await producer.send(topic, ProducerRecord(b"k", b"late"))
    assert len(await read_all(kafka_bootstrap, topic)) == 10


async def test_without_a_broker_it_starts_all_the_same_and_says_so() -> None:
    async with running_producer("127.0.0.1:1", wait=False) as producer:
        assert not producer.ready
        with pytest.raises(UnavailableError):
            await producer.send_batch("any", 0, [ProducerRecord(b"k", b"v")])
        with pytest.raises(UnavailableError):
            await producer.wait_ready(0.05)


async def test_a_certificate_that_is_not_there_yet_is_waited_for() -> None:
    async with running_producer(
        "127.0.0.1:1", wait=False, kafka_security_protocol="SSL", kafka_ssl_cafile="/nowhere/ca.pem"
    ) as producer:
        with pytest.raises(UnavailableError):
            await producer.wait_ready(0.05)
        assert producer._connecting is not None
        assert not producer._connecting.done()


async def test_connecting_anew_is_no_part_of_the_request_that_found_it_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []

    async def noting(*_: object) -> None:
        seen.append(get_contextvars())

    producer = Producer(settings("127.0.0.1:1"), client_id="test")
    for step in ("_connect", "_close"):
        monkeypatch.setattr(producer, step, noting)
    stuck: Any = object()
    producer._current = stuck
    with bound_contextvars(requestId="r-1"):
        producer._reconnect(stuck)
    await until(lambda: seen == [{}, {}])
    await producer.stop()


async def test_a_killed_broker_is_away_and_comes_back_with_nothing_doubled(own_kafka: KafkaCluster) -> None:
    """F6: the broker is killed under load. Every send is acknowledged or raises, and each record is there once."""
    topic, timeout_s = a_name("killed"), 1.0
    await make_topics(own_kafka.bootstrap_servers, {topic: 1})
    acknowledged, unknown, slowest = list[bytes](), list[bytes](), 0.0
    async with running_producer(own_kafka.bootstrap_servers, kafka_send_timeout_s=timeout_s) as producer:
        done = asyncio.Event()

        async def load(worker: int) -> None:
            nonlocal slowest
            number = 0
            while not done.is_set():
                value, began = b"%d-%d" % (worker, number), monotonic()
                number += 1
                try:
                    await producer.send_batch(topic, 0, [ProducerRecord(b"k", value), ProducerRecord(b"k", value)])
                    acknowledged.append(value)
                except UnavailableError:
                    unknown.append(value)
                    await asyncio.sleep(0.02)
                slowest = max(slowest, monotonic() - began)

        workers = [asyncio.create_task(load(worker)) for worker in range(4)]
        await until(lambda: len(acknowledged) > 50)
        await kill_broker(own_kafka)
        await until(lambda: not producer.ready)
        before = len(acknowledged)
        await restart_broker(own_kafka)
        await until(lambda: producer.ready and len(acknowledged) > before + 50, deadline_s=20)
        done.set()
        await asyncio.gather(*workers)
    assert unknown
    assert slowest < timeout_s + 1.0
    values = [record.value for record in await read_all(own_kafka.bootstrap_servers, topic)]
    assert values[::2] == values[1::2]
    once = values[::2]
    assert len(once) == len(set(once))
    assert set(acknowledged) <= set(once) <= set(acknowledged) | set(unknown)


async def test_a_frozen_broker_is_away_and_works_again_once_it_thaws(own_kafka: KafkaCluster) -> None:
    """F7: the broker freezes for longer than a send may take, with its connections open."""
    topic = a_name("frozen")
    await make_topics(own_kafka.bootstrap_servers, {topic: 1})
    async with running_producer(own_kafka.bootstrap_servers, kafka_send_timeout_s=0.5) as producer:
        await producer.send(topic, ProducerRecord(b"k", b"before"))
        async with frozen_broker(own_kafka.brokers[0]):
            outcomes = await asyncio.gather(
                *(producer.send_batch(topic, 0, [ProducerRecord(b"k", b"%d" % n)]) for n in range(20)),
                return_exceptions=True,
            )
            assert [type(outcome) for outcome in outcomes] == [UnavailableError] * 20
            assert not producer.ready
            # Longer than the old producer may take to flush: it must be gone, not trying for ever.
            await until(lambda: not producer._retiring)
        await producer.wait_ready(20)
        await producer.send(topic, ProducerRecord(b"k", b"after"))
    values = [record.value for record in await read_all(own_kafka.bootstrap_servers, topic)]
    assert len(values) == len(set(values))
    assert {b"before", b"after"} <= set(values)


async def test_stopping_does_not_wait_for_a_frozen_broker_for_ever(own_kafka: KafkaCluster) -> None:
    topic = a_name("frozen-stop")
    await make_topics(own_kafka.bootstrap_servers, {topic: 1})
    before = asyncio.all_tasks()
    async with running_producer(own_kafka.bootstrap_servers, kafka_send_timeout_s=0.5) as producer:
        await producer.send(topic, ProducerRecord(b"k", b"before"))
        async with frozen_broker(own_kafka.brokers[0]):
            with pytest.raises(UnavailableError):
                await producer.send(topic, ProducerRecord(b"k", b"v"))
            async with asyncio.timeout(5):
                await producer.stop()
    await until(lambda: not asyncio.all_tasks() - before)


async def test_a_caller_that_gives_up_leaves_the_others_batches_whole(kafka_bootstrap: str) -> None:
    topic = a_name("cancelled")
    await make_topics(kafka_bootstrap, {topic: 1})
    async with running_producer(kafka_bootstrap) as producer:
        sends = [
            asyncio.create_task(producer.send_batch(topic, 0, [ProducerRecord(b"k", b"%d" % n)] * 3)) for n in range(50)
        ]
        await asyncio.wait(sends, return_when=asyncio.FIRST_COMPLETED)
        for sending in sends[1::2]:
            sending.cancel()
        outcomes = await asyncio.gather(*sends, return_exceptions=True)
        assert all(outcome is None for outcome in outcomes[::2])
        await producer.send_batch(topic, 0, [ProducerRecord(b"k", b"last")] * 3)
    values = [record.value for record in await read_all(kafka_bootstrap, topic)]
    assert values[::3] == values[1::3] == values[2::3]
    assert len(set(values)) == len(values) // 3


@pytest.mark.parametrize("failing", [0, 1, 2])
async def test_records_of_several_partitions_have_arrived_only_when_all_of_them_have(
    monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    producer, sent = Producer(settings("127.0.0.1:1"), client_id="t"), Counter[int]()

    async def three(_topic: str) -> int:
        return 3

    async def send_to(_topic: str, partition: int, records: Sequence[ProducerRecord]) -> None:
        if partition == failing:
            raise UnavailableError("Kafka")
        for _ in range(10):
            await asyncio.sleep(0)
        sent[partition] += len(records)

    monkeypatch.setattr(producer, "partitions", three)
    monkeypatch.setattr(producer, "send_to", send_to)
    with pytest.raises(UnavailableError):
        await producer.send_by_key("t", [ProducerRecord(b"%d" % number, b"") for number in range(30)])
    assert len(sent) == 2, "one that fails does not stop the others halfway"
