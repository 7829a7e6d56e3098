"""Runs fulfilments: one at a time for each transaction, whoever asks for it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any


class SingleFlight:
    """Starts `work(transaction id)` unless it runs already; `most` of them run at the same time."""

    def __init__(self, work: Callable[[str], Awaitable[Any]], *, max_concurrency: int) -> None:
        self._work = work
        self._turns = asyncio.Semaphore(max_concurrency)
        self._running: dict[str, asyncio.Task[Any]] = {}

    async def run(self, transaction_id: str) -> None:
        """Return when it is done; raises what the work raises. Giving up waiting does not stop it."""
        task = self._running.get(transaction_id)
        if task is None:
            task = self._running[transaction_id] = asyncio.create_task(self._turn(transaction_id))
            task.add_done_callback(lambda done: self._over(transaction_id, done))
        await asyncio.shield(task)

    async def start(self) -> None:
        """Nothing: it begins when it is asked."""

    async def stop(self) -> None:
        """Let what runs come to its end."""
        if self._running:
            await asyncio.gather(*self._running.values(), return_exceptions=True)

    def _over(self, transaction_id: str, done: asyncio.Task[Any]) -> None:
        self._running.pop(transaction_id, None)
        if not done.cancelled():
            done.exception()  # looked at, even if everybody has given up waiting

    async def _turn(self, transaction_id: str) -> None:
        async with self._turns:
            await self._work(transaction_id)
