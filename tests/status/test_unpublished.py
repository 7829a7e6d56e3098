"""What a chunk has and its job has not published yet."""

from collections.abc import Sequence

import pytest

from services.chassis.runtime.errors import UnavailableError
from services.jobs.events import JobKey
from services.status.adapters.notifier import JobNotifier
from services.status.domain.block import ALL_EVENTS
from services.status.domain.job import JobChange
from services.status.domain.updates import UNPROCESSED
from services.status.flows import queries
from services.status.flows.apply_events import Deps, apply_events
from tests.jobs.events import a_header, a_run, expired, judged, opened
from tests.status.builders import split_page
from tests.status.fakes import FakeFinishedPublisher, FakeNotifier, FakeSiteProfiles, MemoryJobStore

HEADER = a_header(300)


class InterruptedJobStore(MemoryJobStore):
    """Fails at writes of jobs while `is_interrupted`; chunks are written."""

    is_interrupted = False

    async def write(self, changes: Sequence[JobChange]) -> frozenset[JobKey]:
        if self.is_interrupted:
            raise UnavailableError("MongoDB")
        return await super().write(changes)


async def shown_records(jobs: MemoryJobStore) -> list[str]:
    deps = queries.Deps(jobs=jobs, waiters=JobNotifier(max_waiters=0), now_us=lambda: 0, clock_s=lambda: 0.0)
    stored = await queries.find_job(HEADER.key, deps, projection=ALL_EVENTS)
    assert stored is not None
    records = await queries.get_records(stored, UNPROCESSED, deps, first=0, rows=5_000)
    return split_page(records)


async def test_it_is_not_shown() -> None:
    """Breaks: status ends after writing late outcomes into a chunk, before writing the job.

    Must hold: pages show what the version of the job has, no more: the entity tag is still the same (I4).
    """
    jobs = InterruptedJobStore()
    deps = Deps(
        jobs=jobs,
        site_profiles=FakeSiteProfiles(),
        notifier=FakeNotifier(),
        finished=FakeFinishedPublisher(),
        now_us=lambda: 0,
    )
    await apply_events([opened(HEADER), expired(HEADER)], deps)
    before = await shown_records(jobs)
    late = judged(a_run("S" * 100), HEADER, after_ms=2_000_000)
    jobs.is_interrupted = True
    with pytest.raises(UnavailableError):
        await apply_events([late], deps)
    assert await shown_records(jobs) == before
    jobs.is_interrupted = False
    await apply_events([late], deps)
    assert await shown_records(jobs) != before
    assert len(before) == HEADER.total
