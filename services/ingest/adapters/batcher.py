"""Records of different requests in one batch: who comes while a batch is under way travels with the next one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from services.chassis.kafka.producer import ProducerRecord
from services.chassis.runtime.errors import UnavailableError
from services.ingest import metrics

MAX_RECORDS = 500
MAX_BYTES = 512 * 1024

Carry = Callable[[Sequence[ProducerRecord]], Awaitable[None]]


class _Load:
    """What travels together."""

    __slots__ = ("bytes", "journey", "records")

    def __init__(self) -> None:
        self.records: list[ProducerRecord] = []
        self.bytes = 0
        self.journey: asyncio.Task[None]

    def add(self, record: ProducerRecord) -> None:
        self.records.append(record)
        self.bytes += len(record.value or b"")

    @property
    def is_full(self) -> bool:
        return len(self.records) >= MAX_RECORDS or self.bytes >= MAX_BYTES


class RecordBatcher:
    """Gives waiting records to `carry` together. One batch is under way at a time; nobody waits without need."""

    def __init__(self, carry: Carry) -> None:
        self._send = carry
        self._road = asyncio.Lock()
        self._loading: _Load | None = None

    async def submit(self, record: ProducerRecord) -> None:
        """Return when the record is acknowledged; raises `Away` when it, with all that travelled with it, was not."""
        load = self._loading
        if load is None or load.is_full:
            load = self._loading = _Load()
            load.journey = asyncio.create_task(self._go(load))
        load.add(record)
        try:
            # One passenger who gives up does not stop the others.
            await asyncio.shield(load.journey)
        except UnavailableError as away:
            raise UnavailableError(away.dependency, retry_after_s=away.retry_after_s) from away

    async def _go(self, load: _Load) -> None:
        async with self._road:
            if self._loading is load:
                self._loading = None
            metrics.SHARED_BATCH_RECORDS.observe(len(load.records))
            await self._send(load.records)
