"""Partitions that halt on dead letters, and those that wait for the schema registry."""

from dataclasses import replace

import pytest
from aiokafka import TopicPartition

from services.chassis.avro.wire_format import LENGTH, prefix
from services.chassis.kafka.consumer import PartitionsUnavailableError
from services.chassis.runtime.errors import UnavailableError
from services.validator.adapters.record_reader import SubmittedRecordReader
from services.validator.worker import Worker
from tests.validator.fakes import Committed, FakeSchemaSource, Harness, Published
from tests.validator.records import ORDERS_IN, SCHEMAS, a_poll, an_order, as_bytes
from tests.validator.test_worker import VALIDATED, handle


async def test_a_topic_full_of_poison_stops_the_partition_and_no_other(harness: Harness) -> None:
    poll = {**a_poll(*[b"poison"] * 10), **a_poll(an_order(), partition=1)}
    await handle(harness, poll)
    assert len(harness.dead_letters.sent) == 3
    assert [entry for entry in harness.journal if isinstance(entry, Committed)] == [Committed(0, 3), Committed(1, 1)]
    assert set(harness.dead_letter_limit.halted) == {TopicPartition(ORDERS_IN, 0)}


async def test_nothing_more_is_taken_from_a_stopped_partition(harness: Harness) -> None:
    worker = Worker(harness.deps, harness.dead_letter_limit)
    await worker.handle(a_poll(*[b"poison"] * 10))
    before = list(harness.journal)
    assert await worker.handle(a_poll(an_order(), b"poison", first=10)) == {}
    assert harness.journal == before
    worker.on_revoked([TopicPartition(ORDERS_IN, 0)])
    assert list(harness.dead_letter_limit.halted) == []


async def test_a_partition_that_goes_leaves_others_stopped(harness: Harness) -> None:
    worker = Worker(harness.deps, harness.dead_letter_limit)
    await worker.handle({**a_poll(*[b"poison"] * 5), **a_poll(*[b"poison"] * 5, partition=1)})
    worker.on_revoked([TopicPartition(ORDERS_IN, 0)])
    assert set(harness.dead_letter_limit.halted) == {TopicPartition(ORDERS_IN, 1)}


async def test_schemas_that_are_not_known_are_looked_up_before_anything_is_judged(harness: Harness) -> None:
    """While the registry is unavailable, records must wait."""
    source = FakeSchemaSource(is_unavailable=True, id77=SCHEMAS["order"].definition)
    reader = SubmittedRecordReader(SCHEMAS, source)
    worker = Worker(replace(harness.deps, reader=reader), harness.dead_letter_limit)
    poll = a_poll(prefix(77) + as_bytes(an_order())[LENGTH:])
    with pytest.raises(UnavailableError):
        await worker.handle(poll)
    assert harness.journal == []
    source.is_unavailable = False
    await worker.handle(poll)
    assert harness.journal == [Published(VALIDATED, 1)]


async def test_while_the_registry_is_away_only_partitions_that_need_it_wait(harness: Harness) -> None:
    """One record that names an unknown schema must not stop all the others."""
    source = FakeSchemaSource(is_unavailable=True, id77=SCHEMAS["order"].definition)
    worker = Worker(replace(harness.deps, reader=SubmittedRecordReader(SCHEMAS, source)), harness.dead_letter_limit)
    unknown = prefix(77) + as_bytes(an_order())[LENGTH:]
    poll = {**a_poll(an_order(), unknown, an_order(), first=7), **a_poll(an_order(), an_order(), partition=5)}
    with pytest.raises(PartitionsUnavailableError) as raised:
        await worker.handle(poll)
    assert harness.journal == [Published(VALIDATED, records=3)]
    assert raised.value.offsets == {TopicPartition(ORDERS_IN, 0): 8, TopicPartition(ORDERS_IN, 5): 2}
    assert list(raised.value.partitions) == [TopicPartition(ORDERS_IN, 0)]
    source.is_unavailable = False
    assert await worker.handle(a_poll(unknown, an_order(), first=8)) == {TopicPartition(ORDERS_IN, 0): 10}
    assert harness.journal[1:] == [Published(VALIDATED, records=2)]


async def test_a_halted_partition_does_not_wait_for_a_schema(harness: Harness) -> None:
    source = FakeSchemaSource(is_unavailable=True)
    worker = Worker(replace(harness.deps, reader=SubmittedRecordReader(SCHEMAS, source)), harness.dead_letter_limit)
    poll = a_poll(*[b"poison"] * 4, prefix(77))
    assert await worker.handle(poll) == {TopicPartition(ORDERS_IN, 0): 3}
    assert list(harness.dead_letter_limit.halted) == [TopicPartition(ORDERS_IN, 0)]


async def test_a_poll_that_comes_again_is_not_counted_twice(harness: Harness) -> None:
    harness.producer.unavailable.add(VALIDATED)
    poll = a_poll(b"poison", b"poison", an_order())
    for _ in range(5):
        with pytest.raises(UnavailableError):
            await handle(harness, poll)
    harness.producer.unavailable.clear()
    await handle(harness, poll)
    assert list(harness.dead_letter_limit.halted) == []
