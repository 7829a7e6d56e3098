"""The clock's face of status: now and then, jobs whose deadline has passed are ended."""

import asyncio
from collections.abc import Awaitable, Callable

from services.chassis.errors import Away
from services.chassis.logs import logger
from services.status.expiring import World, expire

MOST = 1_000
SHORTEST_S, LONGEST_S = 0.2, 10.0
_LOG = logger(__name__)


class Sweeper:
    """Expires jobs for as long as it runs. Any number of replicas may do so."""

    def __init__(
        self,
        world: World,
        *,
        deadline_s: float,
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._world = world
        self._deadline_us = int(deadline_s * 1_000_000)
        self._every_s = min(max(deadline_s / 20, SHORTEST_S), LONGEST_S)
        self._pause = pause
        self._is_marked = False
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin, in the background."""
        self._running = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop where it is."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])

    async def sweep(self) -> int:
        """End a batch of what is overdue; returns how many. While something is away, none."""
        try:
            if not self._is_marked:
                # What was there when we started may hold the progress of any job.
                await self._world.backlog.mark()
                self._is_marked = True
            ended = await expire(self._world, deadline_us=self._deadline_us, most=MOST)
        except Away as away:
            _LOG.warning("jobs are not expired", what=away.what)
            return 0
        if ended:
            _LOG.warning("jobs expired", jobs=ended)
        return ended

    async def _run(self) -> None:
        while True:
            try:
                await self.sweep()
            except Exception:  # noqa: BLE001 - a defect here must not leave jobs open for good
                _LOG.exception("jobs were not expired")
            await self._pause(self._every_s)
