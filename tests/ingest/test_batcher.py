"""Batching records of concurrent requests."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from structlog.contextvars import bound_contextvars, get_contextvars

from services.chassis.kafka.producer import OnSettled, ProducerRecord
from services.chassis.runtime.errors import UnavailableError
from services.ingest.adapters import batcher as batching
from services.ingest.adapters.batcher import AwaitableAcknowledgements, RecordBatcher, RecordQueue
from tests.chassis.eventually import until
from tests.ingest.sent_batches import decode_batch

TOPIC, PARTITIONS = "t", 4


class FakeProducer:
    """Keeps what is sent; settles each batch when the gate of its partition is set."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, list[ProducerRecord]]] = []
        self.gates = [asyncio.Event() for _ in range(PARTITIONS)]
        self.leaders = [0] * PARTITIONS
        self.unavailable: set[int] = set()
        self.is_connected = True
        self.defect: Exception | None = None
        self.is_known = True
        self.answered = asyncio.Event()
        self.answered.set()
        self.contexts: list[Any] = []

    @property
    def batch_sizes(self) -> list[int]:
        return [len(records) for _, records in self.sent]

    def open(self) -> None:
        for gate in self.gates:
            gate.set()

    async def partitions(self, topic: str) -> int:
        await self.answered.wait()
        if not self.is_connected:
            raise UnavailableError("Kafka", retry_after_s=7)
        self.is_known = True
        return PARTITIONS if topic else 0

    def known_partitions(self, topic: str) -> int | None:
        return PARTITIONS if topic and self.is_known else None

    def leader(self, topic: str, partition: int) -> int | None:
        return self.leaders[partition] if topic else None

    def send_nowait(self, topic: str, partition: int, records: Sequence[bytes], on_settled: OnSettled) -> None:
        if not self.is_connected:
            raise UnavailableError("Kafka", retry_after_s=7)
        if self.defect is not None:
            raise self.defect
        assert topic == TOPIC
        self.contexts.append(get_contextvars())
        self.sent.append((partition, decode_batch(records)))
        waiting = asyncio.create_task(self.gates[partition].wait())
        waiting.add_done_callback(lambda _: on_settled(self._outcome(partition)))

    def _outcome(self, partition: int) -> Exception | None:
        return UnavailableError("Kafka", retry_after_s=7) if partition in self.unavailable else None


@pytest.fixture
async def producer() -> FakeProducer:
    return FakeProducer()


@pytest.fixture
def batcher(producer: FakeProducer) -> RecordBatcher:
    return RecordBatcher(producer)


async def submit(queue: RecordQueue, record: ProducerRecord) -> None:
    acknowledgements = AwaitableAcknowledgements(1)
    queue.submit(record, acknowledgements)
    await acknowledgements.wait()


def a_record(size: int = 1) -> ProducerRecord:
    return ProducerRecord(b"k", b"v" * size)


async def test_a_lone_record_goes_at_once(producer: FakeProducer, batcher: RecordBatcher) -> None:
    producer.open()
    await submit(batcher.queue(TOPIC), ProducerRecord(b"k", b"v", (("n", b"c"),)))
    assert producer.sent == [(0, [(b"k", b"v", (("n", b"c"),))])]
    await until(lambda: batcher.is_idle)


async def test_records_submitted_later_go_with_the_next_batch(producer: FakeProducer, batcher: RecordBatcher) -> None:
    sizes: list[int] = []
    queue = batcher.queue(TOPIC, 0, sizes.append)
    first = asyncio.create_task(submit(queue, a_record()))
    await until(lambda: producer.batch_sizes == [1])
    others = [asyncio.create_task(submit(queue, a_record())) for _ in range(600)]
    producer.open()
    await asyncio.gather(first, *others)
    assert producer.batch_sizes == sizes == [1, 500, 100], "batches are bounded"


async def test_large_records_fill_a_batch_sooner(producer: FakeProducer, batcher: RecordBatcher) -> None:
    queue = batcher.queue(TOPIC, 0)
    producer.open()
    await asyncio.gather(*(submit(queue, a_record(300 * 1024)) for _ in range(4)))
    assert producer.batch_sizes == [2, 2]


async def test_what_became_of_a_batch_became_of_each_record_in_it(
    producer: FakeProducer, batcher: RecordBatcher
) -> None:
    producer.unavailable = {0}
    producer.open()
    queue = batcher.queue(TOPIC, 0)
    outcomes = await asyncio.gather(*(submit(queue, a_record()) for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [UnavailableError] * 3
    assert [outcome.retry_after_s for outcome in outcomes if isinstance(outcome, UnavailableError)] == [7] * 3
    producer.unavailable = set()
    await submit(queue, a_record())
    assert producer.batch_sizes == [3, 1], "the partition is free again"


async def test_a_request_that_is_cancelled_does_not_stop_the_others(
    producer: FakeProducer, batcher: RecordBatcher
) -> None:
    queue = batcher.queue(TOPIC)
    impatient = asyncio.create_task(submit(queue, a_record()))
    patient = asyncio.create_task(submit(queue, a_record()))
    await until(lambda: producer.batch_sizes == [2])
    impatient.cancel()
    await asyncio.wait([impatient])
    producer.open()
    await patient
    assert impatient.cancelled()


async def test_a_request_waits_for_all_that_it_sent(producer: FakeProducer, batcher: RecordBatcher) -> None:
    acknowledgements = AwaitableAcknowledgements(2)
    for partition in (0, 1):
        batcher.queue(TOPIC, partition).submit(a_record(), acknowledgements)
    waiting = asyncio.create_task(acknowledgements.wait())
    producer.unavailable = {0}
    producer.gates[0].set()
    await until(lambda: len(batcher._in_flight) == 1)
    assert not waiting.done(), "the outcome of the other one is still unknown"
    producer.gates[1].set()
    await asyncio.wait([waiting])
    assert isinstance(waiting.exception(), UnavailableError)


async def test_batches_for_one_broker_go_together(
    producer: FakeProducer, batcher: RecordBatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a lot is in flight, records of other partitions wait for its end, too; those of another broker do not."""
    monkeypatch.setattr(batching, "MAX_WAIT_S", 60.0)
    producer.leaders[3] = 1
    queues = [batcher.queue(TOPIC, partition) for partition in range(PARTITIONS)]
    first = asyncio.create_task(submit(queues[0], a_record()))
    await until(lambda: producer.sent != [])
    later = [asyncio.create_task(submit(queue, a_record())) for queue in queues * 2]
    await until(lambda: len(producer.sent) == 2)
    assert [partition for partition, _ in producer.sent] == [0, 3]
    producer.gates[0].set()
    await until(lambda: len(producer.sent) == 5)
    assert sorted((partition, len(records)) for partition, records in producer.sent[2:]) == [(0, 2), (1, 2), (2, 2)]
    producer.open()
    await asyncio.gather(first, *later)


async def test_a_partition_that_does_not_acknowledge_holds_up_no_other_one_for_long(
    producer: FakeProducer, batcher: RecordBatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "MAX_WAIT_S", 0.01)
    stuck, other = batcher.queue(TOPIC, 0), batcher.queue(TOPIC, 1)
    producer.gates[1].set()
    stuck_sends = [asyncio.create_task(submit(stuck, a_record()))]
    await until(lambda: producer.batch_sizes == [1])
    stuck_sends.append(asyncio.create_task(submit(stuck, a_record())))
    await submit(other, a_record())
    await submit(other, a_record())
    assert [partition for partition, _ in producer.sent] == [0, 1, 1], "one batch of a partition at a time"
    producer.gates[0].set()
    await asyncio.gather(*stuck_sends)


async def test_records_for_any_partition_avoid_one_that_does_not_acknowledge(
    producer: FakeProducer, batcher: RecordBatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "MAX_WAIT_S", 0.01)
    queue = batcher.queue(TOPIC)
    first = asyncio.create_task(submit(queue, a_record()))
    await until(lambda: producer.batch_sizes == [1])
    for gate in producer.gates[1:]:
        gate.set()
    for _ in range(PARTITIONS + 1):
        await submit(queue, a_record())
    assert [partition for partition, _ in producer.sent].count(0) == 1
    assert not first.done()
    producer.open()
    await first


async def test_the_next_lot_collects_the_longer_the_larger_the_last_one_was(
    producer: FakeProducer, batcher: RecordBatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "LINGER_PER_RECORD_S", 60.0)
    monkeypatch.setattr(batching, "MAX_LINGER_S", 0.05)
    queue = batcher.queue(TOPIC, 0)
    producer.open()
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    await submit(queue, a_record())
    next_ones = [asyncio.create_task(submit(queue, a_record())) for _ in range(3)]
    await asyncio.gather(*next_ones)
    assert loop.time() - began_at > 0.04
    assert producer.batch_sizes == [1, 3]


@pytest.mark.parametrize("is_connected", [True, False])
async def test_a_producer_that_has_reconnected_is_asked_for_the_partitions(
    producer: FakeProducer, batcher: RecordBatcher, *, is_connected: bool
) -> None:
    producer.is_known, producer.is_connected = False, is_connected
    producer.open()
    queue = batcher.queue(TOPIC, 0)
    outcomes = await asyncio.gather(*(submit(queue, a_record()) for _ in range(2)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None) if is_connected else UnavailableError] * 2
    assert producer.batch_sizes == ([2] if is_connected else [])
    assert batcher.is_idle


async def test_a_disconnected_producer_fails_the_batch_and_not_the_batcher(
    producer: FakeProducer, batcher: RecordBatcher
) -> None:
    producer.is_connected = False
    producer.open()
    queue = batcher.queue(TOPIC, 0)
    with pytest.raises(UnavailableError):
        await submit(queue, a_record())
    producer.is_connected = True
    await submit(queue, a_record())
    assert producer.batch_sizes == [1]


async def test_a_defect_of_the_producer_leaves_no_record_waiting(
    producer: FakeProducer, batcher: RecordBatcher
) -> None:
    """Breaks: the producer raises what it never should. Each record gets that error, and the next ones are sent."""
    producer.open()
    producer.defect = RuntimeError("a defect")
    queues = [batcher.queue(TOPIC, partition) for partition in range(2)]
    async with asyncio.timeout(5):
        outcomes = await asyncio.gather(*(submit(queue, a_record()) for queue in queues), return_exceptions=True)
    assert [repr(outcome) for outcome in outcomes] == ["RuntimeError('a defect')"] * 2
    producer.defect = None
    await submit(queues[0], a_record())
    assert producer.batch_sizes == [1]


async def test_no_record_waits_for_partitions_whose_request_was_cancelled(
    producer: FakeProducer, batcher: RecordBatcher
) -> None:
    producer.is_known = False
    producer.answered.clear()
    queue = batcher.queue(TOPIC, 0)
    waiting = [asyncio.create_task(submit(queue, a_record())) for _ in range(2)]
    await until(lambda: bool(batcher._learning))
    (learning,) = batcher._learning.values()
    learning.cancel()
    await asyncio.wait(waiting)
    assert [type(task.exception()) for task in waiting] == [UnavailableError] * 2
    producer.open()
    producer.answered.set()
    await submit(queue, a_record())
    assert producer.batch_sizes == [1]


async def test_a_batch_is_not_logged_as_part_of_the_request_that_came_first(
    producer: FakeProducer, batcher: RecordBatcher
) -> None:
    producer.open()
    with bound_contextvars(requestId="r-1"):
        await submit(batcher.queue(TOPIC), a_record())
    assert producer.contexts == [{}]
