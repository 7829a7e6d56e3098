"""From jobs that stand still to the events that end them."""

from collections.abc import Callable
from dataclasses import dataclass

from services.status import metrics
from services.status.ports import ConsumerProgress, ExpiryPublisher, OverdueJobs


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything expiring may touch."""

    jobs: OverdueJobs
    progress: ConsumerProgress
    publisher: ExpiryPublisher
    now_us: Callable[[], int]


async def expire_jobs(deps: Deps, *, deadline_us: int, limit: int) -> int:
    """End the jobs that made no progress for so long, at most so many; returns how many.

    They are told to end by events like any other, so a replay finds them in the same order. Nothing is ended while
    what could still move a job waits to be read. Two who do this at once do no harm: the second event finds nothing
    undecided. Raises `Away` when Kafka or the store does not answer.
    """
    now_us = deps.now_us()
    overdue = await deps.jobs.find_overdue(now_us - deadline_us, limit=limit)
    # Kafka is asked only where there is a reason to.
    if not overdue or not await deps.progress.is_caught_up(up_to_us=now_us - deadline_us):
        return 0
    await deps.publisher.publish_expired(overdue, at_us=now_us)
    metrics.EXPIRED.inc(len(overdue))
    # Nobody is told twice: before these events are read, the same jobs would seem overdue again.
    await deps.progress.snapshot_end_offsets()
    return len(overdue)
