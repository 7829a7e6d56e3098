"""A compacted topic in memory, on a real broker: complete before it is ready, current afterwards."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from sandbox.kafka import KafkaCluster
from services.chassis.kafka.compacted_table import RECORDS, UNUSABLE, CompactedTable
from services.chassis.runtime import metrics
from services.chassis.runtime.errors import UnavailableError
from tests.chassis.eventually import until
from tests.chassis.kafka.kafka_fixtures import (
    a_name,
    frozen_broker,
    kill_broker,
    make_topics,
    restart_broker,
    settings,
)

TableContent = dict[bytes, bytes]
COMPACT = {"cleanup.policy": "compact"}


@asynccontextmanager
async def running_table(bootstrap: str, topic: str, held: TableContent) -> AsyncIterator[CompactedTable]:
    def apply(key: bytes, value: bytes | None) -> None:
        if value == b"poison":
            raise KeyError(key)
        if value is None:
            held.pop(key, None)
        else:
            held[key] = value

    table = CompactedTable(settings(bootstrap), topic, apply, client_id="test")
    await table.start()
    try:
        yield table
    finally:
        await table.stop()


async def put(bootstrap: str, topic: str, records: Sequence[tuple[bytes | None, bytes | None]]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    sent = [await producer.send(topic, key=key, value=value) for key, value in records]
    await asyncio.gather(*sent)
    await producer.stop()


async def a_topic(bootstrap: str, *, partitions: int = 1) -> str:
    topic = a_name("table")
    await make_topics(bootstrap, {topic: partitions}, config=COMPACT)
    return topic


async def test_it_is_ready_once_it_holds_all_that_was_there(kafka_bootstrap: str) -> None:
    topic, held = await a_topic(kafka_bootstrap, partitions=4), TableContent()
    await put(kafka_bootstrap, topic, [(b"%d" % number, b"x" * 100) for number in range(30_000)])
    async with running_table(kafka_bootstrap, topic, held) as table:
        sizes = set[int]()
        while not table.ready:
            sizes.add(len(held))
            await asyncio.sleep(0)
        assert len(held) == 30_000
        assert max(sizes) <= 30_000
        assert RECORDS.labels(topic)._value.get() == 30_000


async def test_the_last_word_on_a_key_counts_and_none_removes_it(kafka_bootstrap: str) -> None:
    topic, held = await a_topic(kafka_bootstrap), TableContent()
    await put(kafka_bootstrap, topic, [(b"a", b"1"), (b"b", b"1"), (b"a", b"2"), (b"b", None)])
    async with running_table(kafka_bootstrap, topic, held) as table:
        await table.wait_ready(15)
        assert held == {b"a": b"2"}


async def test_later_changes_are_followed(kafka_bootstrap: str) -> None:
    topic, held = await a_topic(kafka_bootstrap), TableContent()
    await put(kafka_bootstrap, topic, [(b"a", b"1")])
    async with running_table(kafka_bootstrap, topic, held) as table:
        await table.wait_ready(15)
        await put(kafka_bootstrap, topic, [(b"b", b"2"), (b"a", None)])
        await until(lambda: held == {b"b": b"2"})


async def test_it_says_how_new_its_newest_record_is(kafka_bootstrap: str) -> None:
    """Breaks if a removal does not count, or if an old record makes the table look older."""
    topic, held = await a_topic(kafka_bootstrap), TableContent()
    async with running_table(kafka_bootstrap, topic, held) as table:
        await table.wait_ready(15)
        assert table.newest_timestamp_ms is None
        await put(kafka_bootstrap, topic, [(b"a", b"1")])
        await until(lambda: held == {b"a": b"1"})
        first = table.newest_timestamp_ms or 0
        assert abs(first / 1000 - time.time()) < 60
        await until(lambda: time.time() * 1000 > first + 1)
        await put(kafka_bootstrap, topic, [(b"a", None)])
        await until(lambda: not held)
        assert (table.newest_timestamp_ms or 0) > first


async def test_an_empty_topic_is_ready_at_once(kafka_bootstrap: str) -> None:
    topic, held = await a_topic(kafka_bootstrap, partitions=3), TableContent()
    async with running_table(kafka_bootstrap, topic, held) as table:
        await table.wait_ready(5)
    assert held == {}


async def test_a_missing_topic_is_not_ready_until_it_is_there_and_read(kafka_bootstrap: str) -> None:
    topic, held = a_name("late-table"), TableContent()
    async with running_table(kafka_bootstrap, topic, held) as table:
        with pytest.raises(UnavailableError):
            await table.wait_ready(0.5)
        await make_topics(kafka_bootstrap, {topic: 1}, config=COMPACT)
        await put(kafka_bootstrap, topic, [(b"a", b"1")])
        await table.wait_ready(5)
        await until(lambda: held == {b"a": b"1"})


async def test_a_record_that_cannot_be_used_is_counted_and_passed_over(kafka_bootstrap: str) -> None:
    topic, held = await a_topic(kafka_bootstrap), TableContent()
    await put(kafka_bootstrap, topic, [(b"a", b"1"), (b"b", b"poison"), (b"c", b"3")])
    async with running_table(kafka_bootstrap, topic, held) as table:
        await table.wait_ready(15)
    assert held == {b"a": b"1", b"c": b"3"}
    assert UNUSABLE.labels(topic)._value.get() == 1


async def test_partitions_that_are_added_are_read_too(kafka_bootstrap: str) -> None:
    topic, held = await a_topic(kafka_bootstrap), TableContent()
    async with running_table(kafka_bootstrap, topic, held) as table:
        await table.wait_ready(15)
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
        await admin.start()
        await admin.create_partitions({topic: NewPartitions(3)})
        await admin.close()
        await put(kafka_bootstrap, topic, [(b"%d" % number, b"x") for number in range(50)])
        assert table._kafka is not None
        await table._kafka._client.force_metadata_update()
        await until(lambda: len(held) == 50)
        assert table.ready


async def test_it_stays_ready_while_the_broker_is_away_and_goes_on_where_it_was(own_kafka: KafkaCluster) -> None:
    topic, held = await a_topic(own_kafka.bootstrap_servers), TableContent()
    await put(own_kafka.bootstrap_servers, topic, [(b"a", b"1"), (b"b", b"1")])
    async with running_table(own_kafka.bootstrap_servers, topic, held) as table:
        await table.wait_ready(15)
        await kill_broker(own_kafka)
        assert table.ready
        assert len(held) == 2
        await restart_broker(own_kafka)
        await put(own_kafka.bootstrap_servers, topic, [(b"a", None), (b"c", b"3")])
        await until(lambda: held == {b"b": b"1", b"c": b"3"}, deadline_s=30)
        assert RECORDS.labels(topic)._value.get() == 4


@pytest.mark.parametrize("outage", ["killed", "frozen"])
async def test_it_reports_for_how_long_it_may_lack_changes(own_kafka: KafkaCluster, outage: str) -> None:
    """A frozen broker keeps its connections open."""
    topic = await a_topic(own_kafka.bootstrap_servers, partitions=2)
    config = settings(own_kafka.bootstrap_servers)
    table = CompactedTable(config, topic, lambda _key, _value: None, client_id="test", check_interval_s=0.1)
    assert (table.staleness_s, staleness_metric(topic)) == (math.inf, math.inf)
    await table.start()
    try:
        await table.wait_ready(15)
        complete_at = table._complete_at
        await until(lambda: table._complete_at > complete_at)
        async with AsyncExitStack() as stack:
            if outage == "frozen":
                await stack.enter_async_context(frozen_broker(own_kafka.brokers[0]))
            else:
                await kill_broker(own_kafka)
                stack.push_async_callback(restart_broker, own_kafka)
            await until(lambda: table.staleness_s > 3)
            assert staleness_metric(topic) > 3
            assert table.ready
        await until(lambda: table.staleness_s < 0.5, deadline_s=30)
    finally:
        await table.stop()


def staleness_metric(topic: str) -> float:
    value: float | None = metrics.REGISTRY.get_sample_value("table_staleness_seconds", {"topic": topic})
    assert value is not None
    return value


async def test_without_a_broker_it_is_not_ready_and_stops() -> None:
    async with running_table("127.0.0.1:1", "any", TableContent()) as table:
        with pytest.raises(UnavailableError):
            await table.wait_ready(0.05)
        assert not table.ready
