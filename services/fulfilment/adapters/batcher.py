"""Batches what concurrent tasks ask of a store: while one batch is in flight, the next one collects (group commit)."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextvars import Context
from typing import Generic, NamedTuple, TypeVar

from services.chassis.runtime.errors import UnavailableError, copy_error

MAX_SIZE = 1_000

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Waiting(NamedTuple, Generic[Item, Result]):
    item: Item
    outcome: "asyncio.Future[Result]"


class Batcher(Generic[Item, Result]):
    """Calls `work` with batches of items that have the same key, one batch of a key at a time.

    `work` returns one result per item, in order. If it raises `UnavailableError`, all callers of the batch do. After
    any other error each item is tried alone, so that a defect in one does not block the others: `work` must be safe to
    repeat.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
        *,
        key: Callable[[Item], Hashable] = lambda _item: None,
        size: Callable[[Item], int] = lambda _item: 1,
    ) -> None:
        """`size` is an item's share of `MAX_SIZE`, the size of a batch of more than one item."""
        self._work = work
        self._key = key
        self._size = size
        self._queues: dict[Hashable, deque[_Waiting[Item, Result]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(self, item: Item) -> Result:
        """Return the item's result; raises its batch's error.

        A cancelled caller's item is dropped if its batch has not begun; otherwise the batch goes on without the caller.
        """
        loop, key = asyncio.get_running_loop(), self._key(item)
        waiting = _Waiting[Item, Result](item, loop.create_future())
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = deque()
            # A context of its own: the task outlives the request that starts it, and PyMongo keeps timeouts in it.
            task = loop.create_task(self._run(key, queue), context=Context())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        queue.append(waiting)
        try:
            return await waiting.outcome
        finally:
            # An error refers to this frame, and the cycle would keep the item.
            del waiting

    async def _run(self, key: Hashable, queue: deque[_Waiting[Item, Result]]) -> None:
        batch: list[_Waiting[Item, Result]] = []
        try:
            while queue:
                batch = self._take(queue)
                await self._run_batch(batch)
        finally:
            del self._queues[key]
            # Only a cancellation leaves any without an outcome: no caller must wait for it forever.
            for waiting in (*batch, *queue):
                waiting.outcome.cancel()

    def _take(self, queue: deque[_Waiting[Item, Result]]) -> list[_Waiting[Item, Result]]:
        batch: list[_Waiting[Item, Result]] = []
        size = 0
        while queue and (not batch or size + self._size(queue[0].item) <= MAX_SIZE):
            waiting = queue.popleft()
            if not waiting.outcome.done():
                size += self._size(waiting.item)
                batch.append(waiting)
        return batch

    async def _run_batch(self, batch: Sequence[_Waiting[Item, Result]]) -> None:
        if not batch:
            return
        try:
            results = await self._work([waiting.item for waiting in batch])
        except Exception as error:  # noqa: BLE001 - the callers raise it
            if len(batch) == 1 or isinstance(error, UnavailableError):
                _settle_with(error, batch)
                return
            for waiting in batch:
                await self._run_batch([waiting])
            return
        for waiting, result in zip(batch, results, strict=True):
            if not waiting.outcome.done():
                waiting.outcome.set_result(result)


def _settle_with(error: Exception, batch: Sequence[_Waiting[Item, Result]]) -> None:
    for waiting in batch:
        if not waiting.outcome.done():
            waiting.outcome.set_exception(copy_error(error))
