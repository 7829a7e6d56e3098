"""What fulfilment does by the clock: looks for transactions whose time has come, and for days that are over."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import monotonic

from services.chassis.errors import Away
from services.chassis.logs import logger

RETRY_S = 1.0
AFTER_A_DEFECT_S = 5.0
STALLED_AFTER_S = 120.0
_LOG = logger(__name__)


class Upkeep:
    """Does one thing over and over: `every_s` after it was done, and soon again while something is away."""

    def __init__(
        self,
        name: str,
        step: Callable[[], Awaitable[object]],
        *,
        every_s: float,
        may_begin: Callable[[], bool] = lambda: True,
    ) -> None:
        self._name = name
        self._step = step
        self._every_s = every_s
        self._may_begin = may_begin
        self._running: asyncio.Task[None] | None = None
        self._turned_at = monotonic()

    @property
    def alive(self) -> bool:
        """False once the loop stands still."""
        return monotonic() - self._turned_at < STALLED_AFTER_S + self._every_s

    async def start(self) -> None:
        """Begin, in the background."""
        self._running = asyncio.create_task(self._run(), name=self._name)

    async def stop(self) -> None:
        """Stop where it is: each step can be done again."""
        if self._running is not None:
            self._running.cancel()
            with suppress(asyncio.CancelledError):
                await self._running

    async def _run(self) -> None:
        while True:
            self._turned_at = monotonic()
            await asyncio.sleep(await self._once())

    async def _once(self) -> float:
        try:
            if self._may_begin():
                await self._step()
        except Away as away:
            _LOG.warning("waiting for a dependency", step=self._name, what=away.what)
            return RETRY_S
        except Exception:  # noqa: BLE001 - a defect in one step must not end all of them
            _LOG.exception("a step failed", step=self._name)
            return AFTER_A_DEFECT_S
        return self._every_s
