"""Writes that run while more events are being decoded."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from aiokafka import ConsumerRecord, TopicPartition
from msgspec import Struct

from services.chassis.runtime.errors import UnavailableError
from services.jobs.events import JobEvent, JobKey


class PendingEvent(Struct, frozen=True, gc=False):
    """An event that is not written yet, when it was read, and the record that it came in."""

    read_at_s: float
    event: JobEvent
    record: ConsumerRecord


class WriteBatch(Struct, frozen=True, gc=False):
    """Events that are written together, and the first offset of each partition that they come from."""

    events: Sequence[PendingEvent]
    first_offsets: dict[TopicPartition, int]

    @property
    def keys(self) -> AbstractSet[JobKey]:
        """The jobs that the events are about."""
        return {pending.event.header.key for pending in self.events}


class InFlightWrites:
    """Runs up to `max_batches` writes concurrently, never two for the same job.

    A finished batch is passed to `on_written` or `on_failed`; the next call that waits raises the reason of a failure.
    """

    def __init__(
        self, *, max_batches: int, on_written: Callable[[WriteBatch], None], on_failed: Callable[[WriteBatch], None]
    ) -> None:
        self._max_batches = max_batches
        self._on_written = on_written
        self._on_failed = on_failed
        self._tasks: dict[asyncio.Task[None], tuple[WriteBatch, AbstractSet[JobKey]]] = {}
        self._failures: list[BaseException] = []

    @property
    def active(self) -> Iterable[WriteBatch]:
        """The batches that are being written."""
        return [batch for batch, _ in self._tasks.values()]

    async def wait_for_slot(self, keys: AbstractSet[JobKey]) -> None:
        """Return once a write to these jobs may start."""
        await self._raise_failures()
        while len(self._tasks) >= self._max_batches or not all(
            keys.isdisjoint(active) for _, active in self._tasks.values()
        ):
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            await self._raise_failures()

    async def submit(self, batch: WriteBatch, keys: AbstractSet[JobKey], write: Coroutine[Any, Any, None]) -> None:
        """Start the write in the background."""
        task = asyncio.create_task(write)
        self._tasks[task] = batch, keys
        task.add_done_callback(self._on_done)
        # Let the tasks run that can.
        await asyncio.sleep(0)

    async def drain(self) -> None:
        """Return when no write is in flight."""
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._raise_failures()

    def _on_done(self, task: asyncio.Task[None]) -> None:
        batch, _ = self._tasks.pop(task)
        # A cancelled write is a failed one: it must be reported, too.
        failure = UnavailableError("the job store") if task.cancelled() else task.exception()
        if failure is None:
            self._on_written(batch)
        else:
            self._failures.append(failure)
            self._on_failed(batch)

    async def _raise_failures(self) -> None:
        if not self._failures:
            return
        if self._tasks:
            # The caller can rely on nothing being in flight when this raises.
            await asyncio.wait(self._tasks)
        failures, self._failures = self._failures, []
        # A defect is more important than an unavailable store.
        raise min(failures, key=lambda failure: isinstance(failure, UnavailableError))
