"""Periodic tasks of status: expire overdue jobs, count open ones."""

from collections.abc import Awaitable, Callable, Mapping

from services.chassis.runtime.logs import logger
from services.status import metrics
from services.status.domain.job import OPEN_STATES, JobState
from services.status.flows.expire_jobs import Deps, expire_jobs

MAX_JOBS_PER_SWEEP = 1_000
MIN_INTERVAL_S, MAX_INTERVAL_S = 0.2, 10.0
_LOG = logger(__name__)


class Sweeper:
    """Expires overdue jobs, one batch every `interval_s`. Several replicas may do so at once."""

    def __init__(self, deps: Deps, *, deadline_s: float) -> None:
        self._deps = deps
        self._deadline_us = int(deadline_s * 1_000_000)
        self._has_snapshot = False
        self.interval_s = min(max(deadline_s / 20, MIN_INTERVAL_S), MAX_INTERVAL_S)

    async def sweep(self) -> int:
        """Expire a batch of overdue jobs; returns how many. Raises `UnavailableError`; it may then be repeated."""
        if not self._has_snapshot:
            # Events that were in the topic when the process started may be progress of any job.
            await self._deps.progress.snapshot_end_offsets()
            self._has_snapshot = True
        expired = await expire_jobs(self._deps, deadline_us=self._deadline_us, limit=MAX_JOBS_PER_SWEEP)
        if expired:
            _LOG.warning("jobs expired", jobs=expired)
        return expired


async def update_open_jobs_gauge(count: Callable[[], Awaitable[Mapping[JobState, int]]]) -> None:
    """Set the gauge of open jobs by state. Raises `UnavailableError`; the gauge then keeps its values."""
    counts = await count()
    for state in OPEN_STATES:
        metrics.JOBS_OPEN.labels(state.value).set(counts.get(state, 0))
