"""From jobs that stand still to the events that end them."""

from collections.abc import Callable
from dataclasses import dataclass

from services.status import metrics
from services.status.ports import Backlog, Ending, Overdue


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything expiring may touch."""

    jobs: Overdue
    backlog: Backlog
    ending: Ending
    now_us: Callable[[], int]


async def expire(world: World, *, deadline_us: int, most: int) -> int:
    """End the jobs that made no progress for so long, at most so many; returns how many.

    They are told to end by events like any other, so a replay finds them in the same order. Nothing is ended while
    what could still move a job waits to be read. Two who do this at once do no harm: the second event finds nothing
    undecided. Raises `Away` when Kafka or the store does not answer.
    """
    now_us = world.now_us()
    overdue = await world.jobs.overdue(now_us - deadline_us, most=most)
    # Kafka is asked only where there is a reason to.
    if not overdue or not await world.backlog.is_read(up_to_us=now_us - deadline_us):
        return 0
    await world.ending.expire(overdue, at_us=now_us)
    metrics.EXPIRED.inc(len(overdue))
    # Nobody is told twice: before these events are read, the same jobs would seem overdue again.
    await world.backlog.mark()
    return len(overdue)
