"""Batches single records of concurrent requests: while one batch is in flight, new records collect for the next."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from services.chassis.kafka.producer import ProducerRecord
from services.chassis.runtime.errors import UnavailableError
from services.ingest import metrics

MAX_RECORDS = 500
MAX_BYTES = 512 * 1024

Send = Callable[[Sequence[ProducerRecord]], Awaitable[None]]


class _Batch:
    __slots__ = ("bytes", "flush_task", "records")

    def __init__(self) -> None:
        self.records: list[ProducerRecord] = []
        self.bytes = 0
        self.flush_task: asyncio.Task[None]

    def add(self, record: ProducerRecord) -> None:
        self.records.append(record)
        self.bytes += len(record.value or b"")

    @property
    def is_full(self) -> bool:
        return len(self.records) >= MAX_RECORDS or self.bytes >= MAX_BYTES


class RecordBatcher:
    """Calls `send` with batches of submitted records, one batch at a time and without waiting for more records."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._send_lock = asyncio.Lock()
        self._open_batch: _Batch | None = None

    async def submit(self, record: ProducerRecord) -> None:
        """Return once the record's batch is sent; raises `UnavailableError` if sending it failed."""
        batch = self._open_batch
        if batch is None or batch.is_full:
            batch = self._open_batch = _Batch()
            batch.flush_task = asyncio.create_task(self._flush(batch))
        batch.add(record)
        try:
            # A cancelled request must not cancel the batch that it shares with others.
            await asyncio.shield(batch.flush_task)
        except UnavailableError as error:
            # The task's exception is one object: each request raises its own.
            raise UnavailableError(error.dependency, retry_after_s=error.retry_after_s) from error

    async def _flush(self, batch: _Batch) -> None:
        async with self._send_lock:
            if self._open_batch is batch:
                self._open_batch = None
            metrics.SHARED_BATCH_RECORDS.observe(len(batch.records))
            await self._send(batch.records)
