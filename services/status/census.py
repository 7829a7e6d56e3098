"""Counts the open jobs, now and then, for the metrics."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from services.chassis.errors import Away
from services.chassis.logs import logger
from services.status import metrics
from services.status.domain.job import OPEN, State

EVERY_S = 5.0
_LOG = logger(__name__)


class Census:
    """Asks `count` for the open jobs of each state, over and over, and tells the metrics."""

    def __init__(self, count: Callable[[], Awaitable[Mapping[State, int]]], *, every_s: float = EVERY_S) -> None:
        self._count = count
        self._every_s = every_s
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin, in the background."""
        self._running = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop where it is."""
        if self._running is not None:
            self._running.cancel()

    async def once(self) -> None:
        """Count now; while the store is away, what was counted last stays."""
        try:
            counts = await self._count()
        except Away:
            return
        for state in OPEN:
            metrics.JOBS_OPEN.labels(state.value).set(counts.get(state, 0))

    async def _run(self) -> None:
        while True:
            try:
                await self.once()
            except Exception:  # noqa: BLE001 - a defect here must not cost the metric for good
                _LOG.exception("open jobs were not counted")
            await asyncio.sleep(self._every_s)
