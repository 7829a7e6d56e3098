"""What auth does by the clock: tends its signing keys, and publishes what others have missed."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from services.chassis import logs
from services.chassis.errors import Away

log = logs.logger(__name__)


RETRY_S = 1.0
AFTER_A_DEFECT_S = 10.0


class Upkeep:
    """Does one thing over and over: `every_s` after it succeeded, and soon again while something is away."""

    def __init__(self, name: str, step: Callable[[], Awaitable[object]], *, every_s: float) -> None:
        self._name = name
        self._step = step
        self._every_s = every_s
        self._running: asyncio.Task[None] | None = None
        self._waits_for: str | None = None

    async def start(self) -> None:
        """Begin, in the background."""
        self._running = asyncio.create_task(self._run(), name=self._name)

    async def stop(self) -> None:
        """Stop where it is: each step can be done again."""
        if self._running is not None:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running

    async def _run(self) -> None:
        while True:
            pause_s = await self.once()
            await asyncio.sleep(pause_s)

    async def once(self) -> float:
        """Do it now; returns how long to wait before the next time."""
        try:
            await self._step()
        except Away as away:
            if away.what != self._waits_for:
                log.warning("upkeep waits", step=self._name, away=away.what)
            self._waits_for = away.what
            return RETRY_S
        except Exception:
            log.exception("upkeep failed", step=self._name)
            return AFTER_A_DEFECT_S
        self._waits_for = None
        return self._every_s
