"""Batches single records of concurrent requests: while one batch is in flight, new records collect for the next."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context

from services.chassis.kafka.producer import ProducerRecord
from services.chassis.runtime.errors import UnavailableError

MAX_RECORDS = 500
MAX_BYTES = 512 * 1024

Send = Callable[[Sequence[ProducerRecord]], Awaitable[None]]


class Acknowledgements:
    """The outcome of everything that one request sends. A request waits once, however many sends it has."""

    __slots__ = ("_done", "_error", "_pending")

    def __init__(self, sends: int) -> None:
        self._pending = sends
        self._error: Exception | None = None
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def settle(self, error: Exception | None = None) -> None:
        """Report the outcome of one send."""
        self._error = self._error or error
        self._pending -= 1
        if self._pending or self._done.done():
            return
        if self._error is None:
            self._done.set_result(None)
        else:
            self._done.set_exception(_own_error(self._error))

    async def wait(self) -> None:
        """Return once all sends are acknowledged; raises once all are settled and one of them has failed."""
        await self._done


def _own_error(error: Exception) -> Exception:
    """A batch's error is one object: each request raises its own."""
    if not isinstance(error, UnavailableError):
        return error
    own = UnavailableError(error.dependency, retry_after_s=error.retry_after_s)
    own.__cause__ = error
    return own


class _Batch:
    __slots__ = ("acknowledgements", "bytes", "records")

    def __init__(self) -> None:
        self.records: list[ProducerRecord] = []
        self.acknowledgements: list[Acknowledgements] = []
        self.bytes = 0

    def add(self, record: ProducerRecord, acknowledgements: Acknowledgements) -> None:
        self.records.append(record)
        self.acknowledgements.append(acknowledgements)
        self.bytes += len(record.value or b"")

    def settle(self, error: Exception | None = None) -> None:
        for acknowledgements in self.acknowledgements:
            acknowledgements.settle(error)

    @property
    def is_full(self) -> bool:
        return len(self.records) >= MAX_RECORDS or self.bytes >= MAX_BYTES


class RecordBatcher:
    """Calls `send` with batches of submitted records, one batch at a time and without waiting for more records.

    `on_batch` is called with the number of records of each batch.
    """

    def __init__(self, send: Send, on_batch: Callable[[int], None] = lambda _records: None) -> None:
        self._send = send
        self._on_batch = on_batch
        self._waiting: deque[_Batch] = deque()
        self._flushing: asyncio.Task[None] | None = None

    def submit(self, record: ProducerRecord, acknowledgements: Acknowledgements) -> None:
        """Send the record with the next batch, and settle `acknowledgements` with the batch's outcome."""
        if not self._waiting or self._waiting[-1].is_full:
            self._waiting.append(_Batch())
        self._waiting[-1].add(record, acknowledgements)
        if self._flushing is None:
            # A context of its own: the task outlives the request that starts it.
            self._flushing = asyncio.get_running_loop().create_task(self._flush(), context=Context())

    async def _flush(self) -> None:
        try:
            while self._waiting:
                batch = self._waiting.popleft()
                self._on_batch(len(batch.records))
                try:
                    await self._send(batch.records)
                except Exception as error:  # noqa: BLE001 - every request raises it
                    batch.settle(error)
                else:
                    batch.settle()
        finally:
            self._flushing = None
