"""Writes that go on while more is being read."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from aiokafka import ConsumerRecord, TopicPartition
from msgspec import Struct

from services.chassis.runtime.errors import UnavailableError
from services.jobs.events import JobEvent, JobKey


class PendingEvent(Struct, frozen=True, gc=False):
    """An event that was read and is not written yet, and since when."""

    read_at_s: float
    event: JobEvent
    record: ConsumerRecord


class WriteBatch(Struct, frozen=True, gc=False):
    """Events that are written together, and the first offset of each partition that they come from."""

    events: Sequence[PendingEvent]
    first_offsets: dict[TopicPartition, int]

    @property
    def keys(self) -> AbstractSet[JobKey]:
        """The jobs they speak of."""
        return {one.event.header.key for one in self.events}


class InFlightWrites:
    """Writes that go on beside what follows: so many at once, and never two that speak of one job.

    What went well is given to `done`, what did not to `failed`. The next call that waits raises the reason.
    """

    def __init__(
        self, *, max_batches: int, on_written: Callable[[WriteBatch], None], on_failed: Callable[[WriteBatch], None]
    ) -> None:
        self._most = max_batches
        self._done = on_written
        self._failed = on_failed
        self._tasks: dict[asyncio.Task[None], tuple[WriteBatch, AbstractSet[JobKey]]] = {}
        self._failures: list[BaseException] = []

    @property
    def active(self) -> Iterable[WriteBatch]:
        """What is being written."""
        return [ready for ready, _ in self._tasks.values()]

    async def wait_for_slot(self, keys: AbstractSet[JobKey]) -> None:
        """Return once something about these jobs may begin."""
        await self._raise_failures()
        while len(self._tasks) >= self._most or not all(keys.isdisjoint(taken) for _, taken in self._tasks.values()):
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            await self._raise_failures()

    async def submit(self, ready: WriteBatch, keys: AbstractSet[JobKey], work: Coroutine[Any, Any, None]) -> None:
        """Let the work go on by itself."""
        task = asyncio.create_task(work)
        self._tasks[task] = ready, keys
        task.add_done_callback(self._on_done)
        # Lets those begin and go on that have something to do.
        await asyncio.sleep(0)

    async def drain(self) -> None:
        """Return when nothing is underway."""
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._raise_failures()

    def _on_done(self, task: asyncio.Task[None]) -> None:
        ready, _ = self._tasks.pop(task)
        # Whoever waits for room has to be told of a cancelled one, too: it is not written.
        failure = UnavailableError("the job store") if task.cancelled() else task.exception()
        if failure is None:
            self._done(ready)
        else:
            self._failures.append(failure)
            self._failed(ready)

    async def _raise_failures(self) -> None:
        if not self._failures:
            return
        if self._tasks:
            # Whoever is told has nothing underway any more.
            await asyncio.wait(self._tasks)
        failures, self._failures = self._failures, []
        # A defect says more than that the store is away.
        raise min(failures, key=lambda failure: isinstance(failure, UnavailableError))
