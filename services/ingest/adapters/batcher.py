"""Batches single records of concurrent requests: while one batch is in flight, new records collect for the next."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from functools import partial

from services.chassis.kafka.producer import ProducerRecord
from services.chassis.runtime.errors import UnavailableError, copy_error
from services.chassis.runtime.logs import logger

_LOG = logger(__name__)

MAX_RECORDS = 500
MAX_BYTES = 512 * 1024

Send = Callable[[Sequence[ProducerRecord]], Awaitable[None]]


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
    __slots__ = ("acknowledgements", "bytes", "is_sent", "records")

    def __init__(self) -> None:
        self.records: list[ProducerRecord] = []
        self.acknowledgements: list[Acknowledgements] = []
        self.bytes = 0
        self.is_sent = False

    def add(self, record: ProducerRecord, acknowledgements: Acknowledgements) -> None:
        self.records.append(record)
        self.acknowledgements.append(acknowledgements)
        self.bytes += len(record.value or b"")

    def settle(self, error: Exception | None = None) -> None:
        for acknowledgements in self.acknowledgements:
            try:
                acknowledgements.settle(error)
            except Exception:  # noqa: BLE001 - a defect must not keep other requests from their outcome
                _LOG.exception("request not responded to")

    @property
    def is_open(self) -> bool:
        """Whether it takes more records."""
        return not self.is_sent and len(self.records) < MAX_RECORDS and self.bytes < MAX_BYTES


class RecordBatcher:
    """Calls `send` with batches of submitted records, one batch at a time and without waiting for more records.

    `on_batch` is called with the number of records of each batch.
    """

    def __init__(self, send: Send, on_batch: Callable[[int], None] = lambda _records: None) -> None:
        self._send = send
        self._on_batch = on_batch
        # The first of them is the one in flight.
        self._batches: deque[_Batch] = deque()
        self._flushing: asyncio.Task[None] | None = None

    def submit(self, record: ProducerRecord, acknowledgements: Acknowledgements) -> None:
        """Send the record with the next batch, and settle `acknowledgements` with the batch's outcome."""
        if not self._batches or not self._batches[-1].is_open:
            self._batches.append(_Batch())
        self._batches[-1].add(record, acknowledgements)
        if self._flushing is None:
            # A context of its own: the task outlives the request that starts it.
            self._flushing = asyncio.get_running_loop().create_task(self._flush(), context=Context())

    async def _flush(self) -> None:
        try:
            while self._batches:
                batch = self._batches[0]
                self._on_batch(len(batch.records))
                await self._send_batch(batch)
        finally:
            self._flushing = None
            # Only a cancellation leaves any, the one that is being sent included: no request must wait for it forever.
            while self._batches:
                self._batches.popleft().settle(UnavailableError("Kafka"))

    async def _send_batch(self, batch: _Batch) -> None:
        # Records that are submitted meanwhile go with the next batch.
        batch.is_sent = True
        error: Exception | None = None
        try:
            await self._send(batch.records)
        except UnavailableError as raised:
            # Its traceback would refer to this frame, and the cycle would keep the batch.
            error = raised.with_traceback(None)
        except Exception as raised:  # noqa: BLE001 - every request raises it
            error = raised
        self._batches.popleft()
        batch.settle(error)
