"""The clock's face of status: now and then, jobs whose deadline has passed are ended."""

from collections.abc import Awaitable, Callable, Mapping

from services.chassis.runtime.logs import logger
from services.status import metrics
from services.status.domain.job import OPEN_STATES, JobState
from services.status.flows.expire_jobs import Deps, expire_jobs

MAX_JOBS_PER_SWEEP = 1_000
MIN_INTERVAL_S, MAX_INTERVAL_S = 0.2, 10.0
_LOG = logger(__name__)


class Sweeper:
    """Expires jobs, one batch at a time, each `every_s`. Any number of replicas may do so."""

    def __init__(self, deps: Deps, *, deadline_s: float) -> None:
        self._world = deps
        self._deadline_us = int(deadline_s * 1_000_000)
        self._is_marked = False
        self.interval_s = min(max(deadline_s / 20, MIN_INTERVAL_S), MAX_INTERVAL_S)

    async def sweep(self) -> int:
        """End a batch of what is overdue; returns how many. Raises `Away`: then it can be done again."""
        if not self._is_marked:
            # What was there when we started may hold the progress of any job.
            await self._world.progress.snapshot_end_offsets()
            self._is_marked = True
        ended = await expire_jobs(self._world, deadline_us=self._deadline_us, limit=MAX_JOBS_PER_SWEEP)
        if ended:
            _LOG.warning("jobs expired", jobs=ended)
        return ended


async def update_open_jobs_gauge(count: Callable[[], Awaitable[Mapping[JobState, int]]]) -> None:
    """Tell the metrics how many jobs are open, by state; raises `Away`, and what was counted last stays."""
    counts = await count()
    for state in OPEN_STATES:
        metrics.JOBS_OPEN.labels(state.value).set(counts.get(state, 0))
