"""One suite for every keeper of jobs: in memory, MongoDB by Motor, MongoDB by PyMongo."""

from typing import ClassVar
from uuid import uuid4

import pytest
from msgspec.structs import replace
from pymongo import monitoring

from services.chassis.mongodb import client
from services.chassis.runtime.errors import UnavailableError
from services.jobs.events import JobKey, OutcomeRun
from services.status.adapters.job_store import CHUNKS, JOBS
from services.status.domain.block import ALL_EVENTS, FAULT_EVENTS, RECORDS
from services.status.domain.job import Job, JobChange, JobState, apply_update, new_job, publish_chunks
from services.status.domain.listing import JobListQuery
from services.status.domain.profile import JobProfile, SiteProfile
from services.status.domain.updates import group_by_job
from services.status.flows.apply_events import Deps, apply_events
from services.status.ports import JobTooLargeError
from tests.jobs.events import CREATED_US, JOB, a_header, a_run, expired, judged, opened
from tests.status.builders import DEMO_SITE, a_profile
from tests.status.fakes import FakeFinishedPublisher, FakeNotifier, FakeSiteProfiles, MemoryJobStore
from tests.status.job_store_fixtures import BOTH_DRIVERS, Jobs, a_database, the_change

MIB = 1024 * 1024


def build_deps(jobs: Jobs) -> Deps:
    return Deps(
        jobs=jobs,
        site_profiles=FakeSiteProfiles(),
        notifier=FakeNotifier(),
        finished=FakeFinishedPublisher(),
        now_us=lambda: 0,
    )


async def test_what_was_written_is_found(jobs: Jobs) -> None:
    change = the_change(opened(), judged(a_run("SF")))
    assert await jobs.write([change]) == frozenset()
    found = await jobs.find(JOB, ALL_EVENTS | RECORDS)
    assert found is not None
    assert found.job == change.job
    assert found.block is not None
    assert found.block.runs == change.added_runs


async def test_a_reader_gets_only_the_texts_it_needs(jobs: Jobs) -> None:
    if isinstance(jobs, MemoryJobStore):
        pytest.skip("memory has nothing to save")
    await jobs.write([the_change(opened(), judged(a_run("SF")))])
    bare, events = await jobs.find(JOB), await jobs.find(JOB, FAULT_EVENTS)
    assert bare is not None
    assert events is not None
    assert events.block is not None
    assert bare.block is None
    assert (events.block.runs[0].rows, bool(events.block.runs[0].events)) == ("", True)


class ReadConcernRecorder(client.PoolMetrics, monitoring.CommandListener):
    """Records the read concern of each `find`."""

    levels: ClassVar[list[str]] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name == "find":
            self.levels.append(event.command.get("readConcern", {}).get("level", ""))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Do nothing."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Do nothing."""


@pytest.mark.parametrize("driver", BOTH_DRIVERS)
async def test_what_anything_is_concluded_from_is_read_as_a_majority_has_it(
    mongodb_uri: str, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What others wrote may be rolled back before a majority has it; `test_durability.py` shows what is lost then."""
    monkeypatch.setattr(client, "PoolMetrics", ReadConcernRecorder)
    header = a_header(700)
    async with a_database(mongodb_uri, driver) as database:
        ReadConcernRecorder.levels.clear()
        jobs = database.jobs
        await apply_events([judged(a_run("SS"), header)], build_deps(jobs))
        await apply_events([judged(a_run("SS"), header)], build_deps(jobs), optimistic=False)
        stored = await jobs.find(JOB, ALL_EVENTS)
        assert stored is not None
        await jobs.find_chunks(stored.job, [0], ALL_EVENTS)
        await jobs.list_jobs(JobListQuery(608))
        await jobs.find_overdue(CREATED_US, limit=1)
        assert len(ReadConcernRecorder.levels) >= 7
        assert set(ReadConcernRecorder.levels) == {"majority"}


async def test_summaries_and_lists_do_without_the_tallies_of_chunks(jobs: Jobs) -> None:
    """A job of 100,000 records has two thousand numbers there."""
    await apply_events([judged(a_run("SF" * 50), a_header(1200))], build_deps(jobs))
    whole, bare, (listed,) = (
        await jobs.find(JOB, FAULT_EVENTS),
        await jobs.find(JOB),
        await jobs.list_jobs(JobListQuery(608)),
    )
    assert whole is not None
    assert bare is not None
    assert len(whole.job.chunk_tallies) == 3
    assert bare.job == listed == replace(whole.job, chunk_tallies=())


async def test_a_job_of_nobody_is_not_found(jobs: Jobs) -> None:
    assert await jobs.find(JOB) is None
    assert await jobs.load([JOB]) == {}


async def test_a_job_is_inserted_once(jobs: Jobs) -> None:
    other = JobKey(609, JOB.job_id)
    first, again = the_change(opened()), the_change(opened(), judged(a_run("SS")))
    fresh = the_change(opened(a_header(key=other)))
    fresh = JobChange(0, Job(a_profile(key=other), 1, 1, fresh.job.tally))
    assert await jobs.write([first]) == frozenset()
    assert await jobs.write([again, fresh]) == {JOB}
    found = await jobs.load([JOB, other])
    assert {key: stored.job.state for key, stored in found.items()} == {
        JOB: JobState.RECEIVED,
        other: JobState.RECEIVED,
    }


async def test_a_guess_holds_for_a_job_that_was_just_opened(jobs: Jobs) -> None:
    first = the_change(opened())
    await jobs.write([first])
    guess = the_change(judged(a_run("SF")), known=first.job)
    assert await jobs.write([guess]) == frozenset()
    assert (await jobs.load([JOB]))[JOB].job == guess.job
    assert await jobs.write([guess]) == {JOB}


@pytest.mark.parametrize(
    ("profile", "refused"),
    [
        (a_profile(), a_run("F.")),
        (a_profile(3), None),
        (JobProfile(a_header(mode="online"), DEMO_SITE), None),
        (JobProfile(a_header(type_="returns"), DEMO_SITE), None),
        (JobProfile(replace(a_header(), created_at=CREATED_US + 1), DEMO_SITE), None),
        (JobProfile(a_header(), SiteProfile(1079, "omnichannel-api/qa", "qa")), None),
        (JobProfile(a_header(), SiteProfile(1078, "omnichannel-api/prod", "qa")), None),
        (JobProfile(a_header(), SiteProfile(1078, "omnichannel-api/qa", "eu")), None),
    ],
    ids=["refused", "total", "mode", "type", "creation", "app", "source", "datacenter"],
)
async def test_a_guess_fails_on_any_other_job(jobs: Jobs, profile: JobProfile, refused: OutcomeRun | None) -> None:
    (update,) = group_by_job([opened(profile.header, refused)]).values()
    first = apply_update(new_job(profile), update)
    assert first is not None
    await jobs.write([first])
    guess = the_change(judged(a_run("SF")), known=new_job(a_profile()).job)
    assert await jobs.write([guess]) == {JOB}
    assert (await jobs.load([JOB]))[JOB].job == first.job


async def test_a_write_fails_if_another_came_before(jobs: Jobs) -> None:
    await jobs.write([the_change(opened())])
    stored = (await jobs.load([JOB]))[JOB]
    (one,), (two,) = (list(group_by_job([judged(a_run(outcomes))]).values()) for outcomes in ("S.", ".F"))
    changes = [apply_update(stored, one), apply_update(stored, two)]
    assert changes[0] is not None
    assert changes[1] is not None
    assert await jobs.write([changes[0]]) == frozenset()
    assert await jobs.write([changes[1]]) == {JOB}
    assert (await jobs.load([JOB]))[JOB].job == changes[0].job


async def test_chunks_are_inserted_once_and_changed_on_their_version(jobs: Jobs) -> None:
    job = publish_chunks(new_job(a_profile(1200)).job, ())
    assert job is not None
    await jobs.write([job])
    await apply_events([judged(a_run("S" * 100, 500), a_header(1200))], build_deps(jobs))
    (found,) = await jobs.find_chunks(job.job, [0, 1, 2])
    assert (found.number, found.first, found.version, found.outcomes.count("S")) == (1, 500, 1, 100)
    await apply_events([judged(a_run("F" * 100, 550), a_header(1200))], build_deps(jobs))
    (now,) = await jobs.find_chunks(job.job, [0, 1, 2], ALL_EVENTS)
    assert (now.version, now.outcomes.count("S"), now.outcomes.count("F")) == (2, 100, 50)
    assert now.runs[1].events.count("\n") == 49


async def test_a_large_job_shows_the_prefix_that_is_published(jobs: Jobs) -> None:
    header = a_header(1200)
    deps = build_deps(jobs)
    for first in (600, 0, 100, 300, 500, 400, 1100):
        await apply_events([judged(a_run("SF" * 50, first), header)], deps)
    found = await jobs.find(JOB)
    assert found is not None
    assert (found.job.tally.prefix, found.job.tally.succeeded, found.job.tally.warnings) == (200, 350, 100)
    await apply_events([judged(a_run("S" * 900, 200), header)], deps)
    found = await jobs.find(JOB)
    assert found is not None
    assert (found.job.state, found.job.tally.prefix) == (JobState.COMPLETED_WITH_WARNING, 1200)


async def test_an_ended_job_of_any_size_takes_late_outcomes_without_showing_a_change(jobs: Jobs) -> None:
    for total in (3, 700):
        header = a_header(total, key=JobKey(608, str(uuid4())))
        deps = build_deps(jobs)
        await apply_events([opened(header), judged(a_run("S"), header), expired(header)], deps)
        before = await jobs.find(header.key)
        await apply_events([judged(a_run("F" * (total - 1), 1), header)], deps)
        after = await jobs.find(header.key)
        assert before is not None
        assert after is not None
        assert (after.job.state, after.job.tally.unprocessed) == (JobState.EXPIRED, total - 1)
        assert (after.job.shown_version, after.job.version) == (before.job.shown_version, before.job.version + 1)


@pytest.mark.parametrize("driver", BOTH_DRIVERS)
async def test_while_an_index_is_missing_the_database_is_unavailable(mongodb_uri: str, driver: str) -> None:
    """As on a new or a restored one, until status has created its indexes."""
    async with a_database(mongodb_uri, driver) as database:
        await database.mongo.collection(JOBS).drop_indexes()
        for call in (
            database.jobs.count_open(),
            database.jobs.find_overdue(1, limit=1),
            database.jobs.list_jobs(JobListQuery(608)),
        ):
            with pytest.raises(UnavailableError):
                await call


async def test_retention_can_be_changed(mongodb_uri: str) -> None:
    async with a_database(mongodb_uri, "pymongo") as database:
        await database.jobs.create_indexes(retention_days=7)
        indexes = await database.mongo.collection(JOBS).index_information()
        chunks = await database.mongo.collection(CHUNKS).index_information()
        assert indexes["inserted_1"]["expireAfterSeconds"] == 7 * 86_400
        assert chunks["written_1"]["expireAfterSeconds"] == 8 * 86_400, "no job outlives its chunks"


async def test_readers_are_shown_what_a_majority_has(mongodb_uri: str) -> None:
    """Or a failing primary would take back what it has shown. By the word of the database's own profile."""
    async with a_database(mongodb_uri, "pymongo") as database:
        jobs, header = database.jobs, a_header(700)
        await apply_events([judged(a_run("S"), header)], build_deps(jobs))
        await database.mongo.collection(JOBS).database.command("profile", 2)
        found = await jobs.find(JOB, FAULT_EVENTS)
        assert found is not None
        assert await jobs.find(JOB) is not None
        assert await jobs.find_chunks(found.job, [0], ALL_EVENTS)
        assert await jobs.list_jobs(JobListQuery(608))
        assert await jobs.find_overdue(2**52, limit=1)
        await database.mongo.collection(JOBS).database.command("profile", 0)
        profile = database.mongo.collection("system.profile")
        asked = [one["command"] for one in await profile.find({"command.find": {"$in": [JOBS, CHUNKS]}}).to_list(None)]
    assert [one["readConcern"]["level"] for one in asked] == ["majority"] * 5


@pytest.mark.parametrize("size", [16 * MIB - 200, 16 * MIB, 18 * MIB], ids=["a little", "by some bytes", "by far"])
async def test_a_job_that_outgrows_a_document_is_refused_whole(jobs: Jobs, size: int) -> None:
    """As an insert, which the driver refuses or, if it is only a little too large, the server; as an update, too."""
    if isinstance(jobs, MemoryJobStore):
        pytest.skip("memory has no bound")
    half = "x" * 9_000_000
    first = the_change(opened(), judged(OutcomeRun(0, "S", half)))
    with pytest.raises(JobTooLargeError):
        await jobs.write([the_change(opened(), judged(OutcomeRun(0, "S.", "x" * size)))])
    assert await jobs.write([first]) == frozenset()
    stored = (await jobs.load([JOB]))[JOB]
    (update,) = group_by_job([judged(OutcomeRun(1, "S", half))]).values()
    change = apply_update(stored, update)
    assert change is not None
    with pytest.raises(JobTooLargeError):
        await jobs.write([change])
    assert (await jobs.load([JOB]))[JOB].job == first.job
