"""Batches records of concurrent requests: while one lot of batches is in flight, new records collect for the next.

A batch costs what several records cost, and a request to a broker what several batches cost. So the batches of all
partitions that a broker leads are sent together, as one request, and the next ones when that is answered.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextvars import Context
from functools import partial
from itertools import count
from time import monotonic
from typing import Any, Protocol

from services.chassis.kafka.producer import ProducerRecord
from services.chassis.kafka.record_format import encode_record
from services.chassis.runtime.errors import UnavailableError, copy_error
from services.chassis.runtime.logs import logger

_LOG = logger(__name__)

MAX_RECORDS = 500
MAX_BYTES = 512 * 1024
# The more records a lot has, the longer the next one collects: batches of few records are a matter of load alone.
LINGER_PER_RECORD_S, MAX_LINGER_S = 100e-6, 5e-3
# A batch that is not acknowledged, because its partition lacks a replica perhaps, holds up other partitions no longer.
MAX_WAIT_S = 0.1

OnSettled = Callable[[Exception | None], None]


class BatchProducer(Protocol):
    """What a batcher needs of a producer."""

    def partitions(self, topic: str) -> Coroutine[Any, Any, int]:
        """Return the number of partitions of the topic; raises `UnavailableError`."""

    def known_partitions(self, topic: str) -> int | None:
        """Return the number of partitions of the topic if `partitions` would not have to ask for it, else None."""

    def leader(self, topic: str, partition: int) -> int | None:
        """Return the broker to which batches of the partition are sent; None if it is unknown."""

    def send_nowait(self, topic: str, partition: int, records: Sequence[bytes], on_settled: OnSettled) -> None:
        """Send encoded records as one batch; call `on_settled` once, later. Raises `UnavailableError`."""


class Acknowledgements:
    """The outcome of everything that one request sends, however many sends that are.

    Once all are settled, `on_settled` is called with None, or with the error of the first one that failed.
    """

    __slots__ = ("_error", "_on_settled", "_pending")

    def __init__(self, sends: int, on_settled: Callable[[Exception | None], None]) -> None:
        self._pending = sends
        self._error: Exception | None = None
        self._on_settled = on_settled

    def settle(self, error: Exception | None = None) -> None:
        """Report the outcome of one send."""
        self._error = self._error or error
        self._pending -= 1
        if not self._pending:
            self._on_settled(None if self._error is None else copy_error(self._error))


class AwaitableAcknowledgements(Acknowledgements):
    """Acknowledgements that a task waits for."""

    __slots__ = ("_done",)

    def __init__(self, sends: int) -> None:
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # A method of its own would be part of a cycle.
        super().__init__(sends, partial(_resolve, self._done))

    async def wait(self) -> None:
        """Return once all sends are acknowledged; raises once all are settled and one of them has failed."""
        await self._done


def _resolve(done: asyncio.Future[None], error: Exception | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)


class _Batch:
    __slots__ = ("acknowledgements", "bytes", "records")

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.acknowledgements: list[Acknowledgements] = []
        self.bytes = 0

    def add(self, record: ProducerRecord, acknowledgements: Acknowledgements) -> None:
        key, value, headers = record
        encoded = encode_record(len(self.records), key, value, headers)
        self.records.append(encoded)
        self.acknowledgements.append(acknowledgements)
        self.bytes += len(encoded)

    def settle(self, error: Exception | None = None) -> None:
        for acknowledgements in self.acknowledgements:
            try:
                acknowledgements.settle(error)
            except Exception:  # noqa: BLE001 - a defect must not keep other requests from their outcome
                _LOG.exception("request not responded to")

    @property
    def is_open(self) -> bool:
        """Whether it takes more records."""
        return len(self.records) < MAX_RECORDS and self.bytes < MAX_BYTES


class RecordQueue:
    """Records that wait for their partition, or if `partition` is None for one of the topic's, which take turns."""

    __slots__ = ("_batcher", "_turn", "batches", "leader", "on_batch", "partition", "topic")

    def __init__(
        self, batcher: "RecordBatcher", topic: str, partition: int | None, on_batch: Callable[[int], None]
    ) -> None:
        self._batcher = batcher
        self._turn = count()
        self.topic = topic
        self.partition = partition
        self.on_batch = on_batch
        self.batches: deque[_Batch] = deque()
        # As it was last; what it leads to is checked again when the batch is sent.
        self.leader: int | None = None

    def submit(self, record: ProducerRecord, acknowledgements: Acknowledgements) -> None:
        """Send the record with the next batch, and settle `acknowledgements` with the batch's outcome."""
        batches = self.batches
        if not batches or not batches[-1].is_open:
            batches.append(_Batch())
        batches[-1].add(record, acknowledgements)
        self._batcher.wake(self)

    def partitions(self, count: int) -> Sequence[int]:
        """Return the partitions to try, in this order, of a topic that has `count`."""
        if self.partition is not None:
            return (self.partition,)
        first = next(self._turn)
        return [(first + number) % count for number in range(count)]

    def settle(self, error: Exception) -> None:
        """Settle all that waits, with the error."""
        while self.batches:
            self.batches.popleft().settle(error)


class _Lot:
    """Batches that were sent to a broker together, and are not acknowledged yet."""

    __slots__ = ("batches", "records", "sent_at", "timer")

    def __init__(self) -> None:
        self.batches = 0
        self.records = 0
        self.sent_at = monotonic()
        self.timer: asyncio.TimerHandle | None = None

    def cancel_timer(self) -> None:
        """Cancel the timer, and forget it: it refers to the lot."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class RecordBatcher:
    """Sends the records of its queues: at most one batch of a partition at a time, and one lot to a broker.

    A lone record is sent at once.
    """

    def __init__(self, producer: BatchProducer) -> None:
        self._producer = producer
        self._waiting: dict[RecordQueue, None] = {}
        self._in_flight: set[tuple[str, int]] = set()
        # By the broker that they were sent to.
        self._lots: dict[int | None, _Lot] = {}
        self._learning: dict[str, asyncio.Task[int]] = {}
        self._is_flush_due = False

    def queue(
        self, topic: str, partition: int | None = None, on_batch: Callable[[int], None] = lambda _records: None
    ) -> RecordQueue:
        """Return a new queue; `on_batch` is called with the number of records of each batch."""
        return RecordQueue(self, topic, partition, on_batch)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing is in flight."""
        return not (self._waiting or self._in_flight)

    def wake(self, queue: RecordQueue) -> None:
        """Send what waits in the queue as soon as its broker is free."""
        self._waiting[queue] = None
        if not self._is_flush_due and queue.leader not in self._lots:
            self._flush_soon()

    def _flush_soon(self) -> None:
        if self._waiting and not self._is_flush_due:
            self._is_flush_due = True
            # A context of its own: what follows outlives the request that begins it.
            asyncio.get_running_loop().call_soon(self._flush, context=Context())

    def _flush(self) -> None:
        """Send a batch of each queue whose partition and broker are free."""
        self._is_flush_due = False
        lots: dict[int | None, _Lot] = {}
        for queue in list(self._waiting):
            partition = self._find_partition(queue)
            if partition is not None:
                self._send(queue, partition, lots)
        for leader, lot in lots.items():
            if lot.batches:
                self._lots[leader] = lot
                lot.timer = asyncio.get_running_loop().call_later(MAX_WAIT_S, self._release, leader, lot)

    def _find_partition(self, queue: RecordQueue) -> int | None:
        topic = queue.topic
        known = self._producer.known_partitions(topic)
        if known is None:
            self._learn_partitions(topic)
            return None
        for partition in queue.partitions(known):
            if (topic, partition) not in self._in_flight:
                queue.leader = self._producer.leader(topic, partition)
                if queue.leader not in self._lots:
                    return partition
        return None

    def _send(self, queue: RecordQueue, partition: int, lots: dict[int | None, _Lot]) -> None:
        batch = queue.batches.popleft()
        if not queue.batches:
            del self._waiting[queue]
        lot = lots.setdefault(queue.leader, _Lot())
        queue.on_batch(len(batch.records))
        settle = partial(self._settle, queue.leader, lot, batch, (queue.topic, partition))
        try:
            self._producer.send_nowait(queue.topic, partition, batch.records, settle)
        except Exception as error:  # noqa: BLE001 - a request must not wait for ever for a batch that was not sent
            # Its traceback would refer to this frame, and the cycle would keep the batch.
            batch.settle(error.with_traceback(None))
        else:
            self._in_flight.add((queue.topic, partition))
            lot.batches += 1
            lot.records += len(batch.records)

    def _settle(
        self, leader: int | None, lot: _Lot, batch: _Batch, sent_to: tuple[str, int], error: Exception | None
    ) -> None:
        self._in_flight.discard(sent_to)
        batch.settle(error)
        lot.batches -= 1
        if self._lots.get(leader) is not lot:
            # Given up by now, but what waits for this partition can be sent.
            self._flush_soon()
        elif not lot.batches:
            self._release_later(leader, lot)

    def _release_later(self, leader: int | None, lot: _Lot) -> None:
        lot.cancel_timer()
        linger_s = lot.sent_at + min(lot.records * LINGER_PER_RECORD_S, MAX_LINGER_S) - monotonic()
        if linger_s > 0:
            lot.timer = asyncio.get_running_loop().call_later(linger_s, self._release, leader, lot)
        else:
            self._release(leader, lot)

    def _release(self, leader: int | None, lot: _Lot) -> None:
        """Let the broker have another lot."""
        lot.cancel_timer()
        if self._lots.get(leader) is lot:
            del self._lots[leader]
        self._flush_soon()

    def _learn_partitions(self, topic: str) -> None:
        if topic not in self._learning:
            learning = asyncio.get_running_loop().create_task(self._producer.partitions(topic))
            self._learning[topic] = learning
            learning.add_done_callback(partial(self._on_learned, topic))

    def _on_learned(self, topic: str, learned: asyncio.Task[int]) -> None:
        del self._learning[topic]
        error = UnavailableError("Kafka") if learned.cancelled() else learned.exception()
        if isinstance(error, Exception):
            # As above.
            self._refuse(topic, error.with_traceback(None))
        self._flush_soon()

    def _refuse(self, topic: str, error: Exception) -> None:
        for queue in [queue for queue in self._waiting if queue.topic == topic]:
            del self._waiting[queue]
            queue.settle(error)
