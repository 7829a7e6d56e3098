"""What must be done once before a service can work, such as making the stores' indexes."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from services.chassis.runtime.ending import cancel_and_wait
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.logs import logger

RETRY_S = 0.3
_LOG = logger(__name__)


class StartupTask:
    """Takes each step once, in order, as often as they need to succeed; `is_done` tells when they have."""

    def __init__(self, steps: Sequence[Callable[[], Awaitable[None]]], *, retry_s: float = RETRY_S) -> None:
        self._steps = steps
        self._retry_s = retry_s
        self._running: asyncio.Task[None] | None = None
        self.is_done = False

    async def start(self) -> None:
        """Begin, in the background."""
        self._running = asyncio.create_task(self._run(), name="preparation")

    async def stop(self) -> None:
        """Give up."""
        if self._running is not None:
            await cancel_and_wait(self._running)

    async def run_once(self) -> None:
        """Take every step now; raises `Away`."""
        for step in self._steps:
            await step()
        self.is_done = True

    async def _run(self) -> None:
        while not self.is_done:
            try:
                await self.run_once()
            except UnavailableError as away:
                _LOG.warning("waiting for a dependency", dependency=away.dependency)
                await asyncio.sleep(self._retry_s)
            except Exception:  # noqa: BLE001 - ended by a defect, the service would wait for ever and not say why
                _LOG.exception("preparation failed")
                await asyncio.sleep(self._retry_s)
