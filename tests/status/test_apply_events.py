"""From events to jobs: headers that disagree, many jobs at once, and what is counted."""

import asyncio
from collections.abc import Sequence
from uuid import uuid4

import pytest

from services.chassis.runtime.metrics import REGISTRY
from services.jobs.events import JobHeader, JobKey
from services.status.domain.block import ALL_EVENTS
from services.status.domain.job import Job, JobChange, JobState
from services.status.flows import apply_events as flow
from services.status.flows.apply_events import Deps, apply_events
from tests.jobs.events import CREATED_US, JOB, a_header, a_run, expired, judged, opened
from tests.status.fakes import FakeFinishedPublisher, FakeNotifier, FakeSiteProfiles, MemoryJobStore
from tests.status.worker_fixtures import some_jobs

LATER_US = CREATED_US + 2_500_000


def build_deps(jobs: MemoryJobStore) -> Deps:
    return Deps(
        jobs=jobs,
        site_profiles=FakeSiteProfiles(),
        notifier=FakeNotifier(),
        finished=FakeFinishedPublisher(),
        now_us=lambda: LATER_US,
    )


async def found(jobs: MemoryJobStore, key: JobKey = JOB) -> Job:
    stored = await jobs.find(key, ALL_EVENTS)
    assert stored is not None
    return stored.job


@pytest.mark.parametrize("guessing", [True, False])
@pytest.mark.parametrize(("first", "other"), [(4, 700), (700, 4), (4, 9), (9, 4), (600, 1200)])
async def test_the_first_header_counts_whatever_later_ones_say(first: int, other: int, *, guessing: bool) -> None:
    """The total decides how a job is kept: what speaks of another one belongs to the job that is there."""
    jobs = MemoryJobStore()
    deps = build_deps(jobs)
    await apply_events([opened(a_header(first)), judged(a_run("S"), a_header(first))], deps)
    for event in (opened(a_header(other)), judged(a_run("FS", 2), a_header(other))):
        await apply_events([event], deps, optimistic=guessing)
    job = await found(jobs)
    assert job.profile.total == first
    assert (job.tally.succeeded, job.tally.failed) == (2, 1)
    await apply_events([judged(a_run("S", 1), a_header(other)), expired(a_header(max(first, other)))], deps)
    assert (await found(jobs)).tally.decided_count == first


async def test_jobs_of_which_most_are_known_are_all_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first slice shows that guessing does not pay; what was not tried then is still to be written."""
    monkeypatch.setattr(flow, "JOBS_PER_WRITE", 2)
    jobs, headers = MemoryJobStore(), some_jobs(12)
    await apply_events([opened(header) for header in headers[:9]], build_deps(jobs))
    events = [fact for header in headers for fact in (opened(header), judged(a_run("SS"), header))]
    await apply_events(events, build_deps(jobs))
    assert [(await found(jobs, header.key)).state for header in headers] == [JobState.COMPLETED] * 12


class CancelledOnce(MemoryJobStore):
    """As when the connection is closed by somebody else."""

    is_cancelled = False

    async def write(self, changes: Sequence[JobChange]) -> frozenset[JobKey]:
        if not self.is_cancelled:
            self.is_cancelled = True
            raise asyncio.CancelledError
        return await super().write(changes)


async def test_what_was_cancelled_is_not_taken_for_done() -> None:
    """I7: also where several writers share the work."""
    headers = [a_header(700, key=JobKey(608, str(uuid4()))) for _ in range(4)]
    with pytest.raises(asyncio.CancelledError):
        await apply_events([opened(header) for header in headers], build_deps(CancelledOnce()))


def ended(state: str) -> float:
    return REGISTRY.get_sample_value("status_jobs_ended_total", {"state": state}) or 0.0


def seen() -> list[float]:
    """How many ends became visible, and after how many seconds in all."""
    names = ("status_visible_seconds_count", "status_visible_seconds_sum")
    return [REGISTRY.get_sample_value(name) or 0.0 for name in names]


@pytest.mark.parametrize("total", [3, 700])
async def test_an_end_is_counted_once(total: int) -> None:
    """However often the job is written: by others at the same time, by a replay, and with what came late."""
    header: JobHeader = a_header(total)
    jobs = MemoryJobStore(turns=lambda: 1)
    before, (count, total_s) = ended("EXPIRED"), seen()
    await apply_events([opened(header), judged(a_run("S"), header)], build_deps(jobs))
    await asyncio.gather(*(apply_events([expired(header)], build_deps(jobs)) for _ in range(3)))
    await apply_events([judged(a_run("SFS"), header)], build_deps(jobs))
    await apply_events([opened(header), expired(header)], build_deps(jobs))
    assert ended("EXPIRED") == before + 1
    assert seen() == pytest.approx([count + 1, total_s + 2.5])
