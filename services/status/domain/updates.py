"""The events of a batch, grouped by job."""

from collections.abc import Iterable

from msgspec import Struct

from services.jobs.events import Expired, JobEvent, JobHeader, JobKey, Judged, OutcomeRun

# The outcome of an expired job's undecided records; it is stored, and in no event.
UNPROCESSED = "U"


class TimedRun(Struct, frozen=True, gc=False):
    """A run and when it happened."""

    at_us: int
    run: OutcomeRun


class JobUpdate(Struct, gc=False):
    """What a batch of events says about one job, in their order. The first header counts."""

    header: JobHeader
    runs: list[TimedRun]
    is_opened: bool

    @property
    def key(self) -> JobKey:
        """The job's key."""
        return self.header.key


def group_by_job(events: Iterable[JobEvent]) -> dict[JobKey, JobUpdate]:
    """Collect the events of each job into one update."""
    updates: dict[JobKey, JobUpdate] = {}
    for event in events:
        header = event.header
        update = updates.get(header.key)
        if update is None:
            update = updates[header.key] = JobUpdate(header, [], is_opened=False)
        _add(update, event)
    return updates


def _add(update: JobUpdate, event: JobEvent) -> None:
    fact = event.fact
    if isinstance(fact, Judged):
        update.runs.append(TimedRun(event.at, fact.run))
    elif isinstance(fact, Expired):
        # Expiry is an outcome like the others: it claims the records that are still undecided.
        update.runs.append(TimedRun(event.at, OutcomeRun(0, UNPROCESSED * event.header.total)))
    else:
        update.is_opened = True
        if fact.refused is not None:
            update.runs.append(TimedRun(event.at, fact.refused))
