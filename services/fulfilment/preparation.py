"""Makes the stores' indexes as soon as the database answers; nothing is written before."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from services.chassis.errors import Away
from services.chassis.logs import logger

RETRY_S = 0.3
_LOG = logger(__name__)


class Preparation:
    """Takes each step once, in order, as often as it needs to succeed."""

    def __init__(self, steps: Sequence[Callable[[], Awaitable[None]]]) -> None:
        self._steps = steps
        self._running: asyncio.Task[None] | None = None
        self.is_done = False

    async def start(self) -> None:
        """Begin, in the background."""
        self._running = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Give up."""
        if self._running is not None:
            self._running.cancel()

    async def once(self) -> None:
        """Take every step now; raises `Away`."""
        for step in self._steps:
            await step()
        self.is_done = True

    async def _run(self) -> None:
        while not self.is_done:
            try:
                await self.once()
            except Away as away:
                _LOG.warning("waiting for a dependency", what=away.what)
                await asyncio.sleep(RETRY_S)
