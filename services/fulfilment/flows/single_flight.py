"""Deduplicates concurrent work on the same transaction, and isolates its defects."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from services.chassis.runtime.background import retrieve_exception
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.logs import logger

_LOG = logger(__name__)


class SingleFlight:
    """Runs `work(transaction_id)` at most once at a time per transaction, and at most `max_concurrency` times at once.

    Callers that arrive while the transaction is being worked on share that run and its outcome.
    """

    def __init__(self, work: Callable[[str], Awaitable[Any]], *, max_concurrency: int) -> None:
        self._work = work
        self._semaphore = asyncio.Semaphore(max_concurrency)
        self._tasks: dict[str, asyncio.Task[Any]] = {}

    async def run(self, transaction_id: str) -> None:
        """Return when the work is done; raises its exceptions. Cancelling a caller does not cancel the work."""
        task = self._tasks.get(transaction_id)
        if task is None:
            task = self._tasks[transaction_id] = asyncio.create_task(self._run(transaction_id))
            task.add_done_callback(lambda _: self._tasks.pop(transaction_id, None))
            task.add_done_callback(retrieve_exception)
        await asyncio.shield(task)

    async def start(self) -> None:
        """Do nothing: work starts on demand."""

    async def stop(self) -> None:
        """Wait for the work in progress."""
        if self._tasks:
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _run(self, transaction_id: str) -> None:
        async with self._semaphore:
            await self._work(transaction_id)


async def run_all(work: Callable[[str], Awaitable[object]], transaction_ids: Iterable[str]) -> None:
    """Run the work on all transactions concurrently, then raise `UnavailableError` if any did.

    A defect in one must not block the others: it is logged, and its transaction stays due.
    """
    for outcome in await asyncio.gather(*map(work, transaction_ids), return_exceptions=True):
        if isinstance(outcome, Exception) and not isinstance(outcome, UnavailableError):
            _LOG.error("transaction not fulfilled", exc_info=outcome)
        elif isinstance(outcome, BaseException):
            raise outcome
