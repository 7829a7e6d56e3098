"""All that a batch of events says of each job, put together."""

from collections.abc import Iterable

from msgspec import Struct

from services.jobs.events import Expired, JobEvent, JobHeader, JobKey, Judged, OutcomeRun
from services.status.domain.letters import UNPROCESSED


class TimedRun(Struct, frozen=True, gc=False):
    """A run and when it came to be."""

    at_us: int
    run: OutcomeRun


class JobUpdate(Struct, gc=False):
    """What is new of one job, in the order in which it was read. The first header read is the one that counts."""

    header: JobHeader
    runs: list[TimedRun]
    is_opened: bool

    @property
    def key(self) -> JobKey:
        """Whose news it is."""
        return self.header.key

    @property
    def decides(self) -> int:
        """How many records it speaks of, at most."""
        return sum(len(dated.run.outcomes) - dated.run.outcomes.count(".") for dated in self.runs)


def group_by_job(events: Iterable[JobEvent]) -> dict[JobKey, JobUpdate]:
    """The events by job."""
    folded: dict[JobKey, JobUpdate] = {}
    for event in events:
        header = event.header
        news = folded.get(header.key)
        if news is None:
            news = folded[header.key] = JobUpdate(header, [], is_opened=False)
        _add(news, event)
    return folded


def _add(news: JobUpdate, event: JobEvent) -> None:
    fact = event.fact
    if isinstance(fact, Judged):
        news.runs.append(TimedRun(event.at, fact.run))
    elif isinstance(fact, Expired):
        # Expiry is an outcome like any other: it claims whatever nothing else has claimed before.
        news.runs.append(TimedRun(event.at, OutcomeRun(0, UNPROCESSED * event.header.total)))
    else:
        news.is_opened = True
        if fact.refused is not None:
            news.runs.append(TimedRun(event.at, fact.refused))
