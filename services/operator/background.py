"""Counts and runs replays, one after the other, in the process that has the lease."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from services.chassis.runtime.background import RETRY_S, BackgroundTask, cancel_and_wait
from services.chassis.runtime.errors import UnavailableError
from services.operator.flows.replays import LEASE_US, Deps, work

POLL_INTERVAL_S = 2.0
RENEW_INTERVAL_S = LEASE_US / 4 / 1_000_000


class ReplayWorker(BackgroundTask):
    """Does what the replays ask for; `wake()` makes it look at once."""

    def __init__(self, deps: Deps, *, start_when: Callable[[], bool] = lambda: True) -> None:
        super().__init__("replays", self._step)
        self._deps, self._start_when = deps, start_when

    async def _step(self) -> float:
        if not self._start_when():
            return RETRY_S
        # Reading the topics may take longer than a lease lasts.
        renewing = asyncio.create_task(self._renew())
        try:
            return 0.0 if await work(self._deps) else POLL_INTERVAL_S
        finally:
            await cancel_and_wait(renewing)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_INTERVAL_S)
            with suppress(UnavailableError):
                await self._deps.replays.lease(self._deps.owner, lease_us=LEASE_US)

    async def stop(self) -> None:
        """Stop, perhaps within a batch, and let another process go on at once."""
        await super().stop()
        # Otherwise the lease ends by itself.
        with suppress(UnavailableError):
            await self._deps.replays.release(self._deps.owner)
