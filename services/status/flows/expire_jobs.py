"""Publish the expiry of jobs that make no progress."""

from collections.abc import Callable
from dataclasses import dataclass

from services.status import metrics
from services.status.ports import ConsumerProgress, ExpiryPublisher, OverdueJobs


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything that expiring jobs may touch."""

    jobs: OverdueJobs
    progress: ConsumerProgress
    publisher: ExpiryPublisher
    now_us: Callable[[], int]


async def expire_jobs(deps: Deps, *, deadline_us: int, limit: int) -> int:
    """Expire at most `limit` jobs that made no progress for `deadline_us`; returns how many.

    Expiry is an event like any other, so a replay finds all events in the same order. Nothing expires while a record
    or event that could still change a job waits to be consumed. Two replicas may do this at once: the second event
    finds nothing undecided. Raises `UnavailableError` when Kafka or the store does not respond.
    """
    now_us = deps.now_us()
    overdue = await deps.jobs.find_overdue(now_us - deadline_us, limit=limit)
    # Kafka is asked only if there is a reason to.
    if not overdue or not await deps.progress.is_caught_up(up_to_us=now_us - deadline_us):
        return 0
    await deps.publisher.publish_expired(overdue, at_us=now_us)
    metrics.EXPIRED.inc(len(overdue))
    # Until these events are consumed, the same jobs would seem overdue again.
    await deps.progress.snapshot_end_offsets()
    return len(overdue)
