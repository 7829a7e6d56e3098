"""Counts the open jobs, for the metrics."""

from collections.abc import Awaitable, Callable, Mapping

from services.status import metrics
from services.status.domain.job import OPEN, State


async def take_census(count: Callable[[], Awaitable[Mapping[State, int]]]) -> None:
    """Tell the metrics how many jobs are open, by state; raises `Away`, and what was counted last stays."""
    counts = await count()
    for state in OPEN:
        metrics.JOBS_OPEN.labels(state.value).set(counts.get(state, 0))
