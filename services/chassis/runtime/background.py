"""What a service does by the clock: one thing, over and over."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

from services.chassis.runtime.ending import cancel_and_wait
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.logs import logger

RETRY_S = 1.0
RETRY_AFTER_DEFECT_S = 10.0
STALLED_AFTER_S = 120.0
_LOG = logger(__name__)


class PeriodicTask:
    """Does one thing over and over: `every_s` after it succeeded, and soon again while something is away.

    Until `may_begin` it is not done. A defect in it is logged, and it is tried again later.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], Awaitable[object]],
        *,
        interval_s: float,
        start_when: Callable[[], bool] = lambda: True,
        clock_s: Callable[[], float] = monotonic,
    ) -> None:
        self._name = name
        self._step = step
        self._every_s = interval_s
        self._may_begin = start_when
        self._clock_s = clock_s
        self._running: asyncio.Task[None] | None = None
        self._waits_for: str | None = None
        self._turned_at = clock_s()

    @property
    def alive(self) -> bool:
        """False once it stands still: the step hangs."""
        return self._clock_s() - self._turned_at < STALLED_AFTER_S + self._every_s

    async def start(self) -> None:
        """Begin, in the background."""
        self._running = asyncio.create_task(self._run(), name=self._name)

    async def stop(self) -> None:
        """Stop where it is: each step can be done again."""
        if self._running is not None:
            await cancel_and_wait(self._running)

    async def run_once(self) -> float:
        """Do it now, if it may begin; returns how long to wait before the next time."""
        self._turned_at = self._clock_s()
        if not self._may_begin():
            return min(self._every_s, RETRY_S)
        try:
            await self._step()
        except UnavailableError as away:
            self._note_wait(away)
            return min(self._every_s, RETRY_S)
        except Exception:  # noqa: BLE001 - a defect in one turn must not end all of them
            _LOG.exception("upkeep failed", step=self._name)
            return RETRY_AFTER_DEFECT_S
        self._waits_for = None
        return self._every_s

    async def _run(self) -> None:
        while True:
            pause_s = await self.run_once()
            await asyncio.sleep(pause_s)

    def _note_wait(self, away: UnavailableError) -> None:
        """An outage is worth a line, not one each second."""
        if away.dependency != self._waits_for:
            _LOG.warning("waiting for a dependency", step=self._name, dependency=away.dependency)
        self._waits_for = away.dependency
