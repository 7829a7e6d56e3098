"""Batching single records of concurrent requests."""

import asyncio
from collections.abc import Sequence

from structlog.contextvars import bound_contextvars, get_contextvars

from services.chassis.kafka.producer import ProducerRecord
from services.chassis.runtime.errors import UnavailableError
from services.ingest.adapters.batcher import AwaitableAcknowledgements, RecordBatcher
from tests.chassis.eventually import until


class FakeSender:
    """Keeps the sizes of the batches; sends each when the gate is set."""

    def __init__(self) -> None:
        self.batch_sizes: list[int] = []
        self.gate = asyncio.Event()
        self.is_unavailable = False

    async def send(self, records: Sequence[ProducerRecord]) -> None:
        self.batch_sizes.append(len(records))
        await self.gate.wait()
        if self.is_unavailable:
            raise UnavailableError("Kafka", retry_after_s=7)


async def submit(batcher: RecordBatcher, record: ProducerRecord) -> None:
    acknowledgements = AwaitableAcknowledgements(1)
    batcher.submit(record, acknowledgements)
    await acknowledgements.wait()


def a_record(size: int = 1) -> ProducerRecord:
    return ProducerRecord(b"k", b"v" * size)


async def test_a_lone_record_goes_at_once() -> None:
    sender = FakeSender()
    sender.gate.set()
    await submit(RecordBatcher(sender.send), a_record())
    assert sender.batch_sizes == [1]


async def test_records_submitted_later_go_with_the_next_batch() -> None:
    sender = FakeSender()
    batcher = RecordBatcher(sender.send)
    first = asyncio.create_task(submit(batcher, a_record()))
    await until(lambda: sender.batch_sizes == [1])
    others = [asyncio.create_task(submit(batcher, a_record())) for _ in range(600)]
    sender.gate.set()
    await asyncio.gather(first, *others)
    assert sender.batch_sizes == [1, 500, 100], "batches are bounded"


async def test_large_records_fill_a_batch_sooner() -> None:
    sender = FakeSender()
    batcher = RecordBatcher(sender.send)
    sender.gate.set()
    await asyncio.gather(*(submit(batcher, a_record(300 * 1024)) for _ in range(4)))
    assert sender.batch_sizes == [2, 2]


async def test_what_became_of_a_batch_became_of_each_record_in_it() -> None:
    sender = FakeSender()
    sender.is_unavailable = True
    sender.gate.set()
    batcher = RecordBatcher(sender.send)
    outcomes = await asyncio.gather(*(submit(batcher, a_record()) for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [UnavailableError] * 3
    assert [outcome.retry_after_s for outcome in outcomes if isinstance(outcome, UnavailableError)] == [7] * 3
    sender.is_unavailable = False
    await submit(batcher, a_record())
    assert sender.batch_sizes == [3, 1], "the lock is released"


async def test_who_gives_up_does_not_stop_the_others() -> None:
    sender = FakeSender()
    batcher = RecordBatcher(sender.send)
    impatient = asyncio.create_task(submit(batcher, a_record()))
    patient = asyncio.create_task(submit(batcher, a_record()))
    await until(lambda: sender.batch_sizes == [2])
    impatient.cancel()
    await asyncio.wait([impatient])
    sender.gate.set()
    await patient
    assert impatient.cancelled()


async def test_a_request_waits_for_all_that_it_sent() -> None:
    first, second = FakeSender(), FakeSender()
    acknowledgements = AwaitableAcknowledgements(2)
    for sender in (first, second):
        RecordBatcher(sender.send).submit(a_record(), acknowledgements)
    waiting = asyncio.create_task(acknowledgements.wait())
    first.is_unavailable = True
    first.gate.set()
    await until(lambda: first.batch_sizes == [1])
    assert not waiting.done(), "the outcome of the other one is still unknown"
    second.gate.set()
    await asyncio.wait([waiting])
    assert isinstance(waiting.exception(), UnavailableError)


async def test_nobody_waits_for_a_batch_whose_sending_was_cancelled() -> None:
    sender = FakeSender()
    batcher = RecordBatcher(sender.send)
    first = asyncio.create_task(submit(batcher, a_record()))
    await until(lambda: sender.batch_sizes == [1])
    second = asyncio.create_task(submit(batcher, a_record()))
    await until(lambda: len(batcher._batches) == 2)
    (flushing,) = {task for task in asyncio.all_tasks() if "_flush" in repr(task.get_coro())}
    flushing.cancel()
    await asyncio.wait([first, second])
    assert [type(task.exception()) for task in (first, second)] == [UnavailableError] * 2
    sender.gate.set()
    await submit(batcher, a_record())
    assert sender.batch_sizes == [1, 1]


async def test_a_batch_is_not_logged_as_part_of_the_request_that_came_first() -> None:
    seen: list[object] = []

    async def send(_records: Sequence[ProducerRecord]) -> None:
        seen.append(get_contextvars())

    with bound_contextvars(requestId="r-1"):
        await submit(RecordBatcher(send), a_record())
    assert seen == [{}]
