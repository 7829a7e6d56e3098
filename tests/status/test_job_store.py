"""One suite for every keeper of jobs: in memory, MongoDB by Motor, MongoDB by PyMongo."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar
from uuid import uuid4

import pytest
from msgspec.structs import replace
from pymongo import monitoring

from services.chassis.mongodb import client
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.settings import MongoSettings
from services.jobs.events import JobEvent, JobHeader, JobKey, OutcomeRun
from services.status.adapters.job_store import CHUNKS, JOBS, MongoJobStore, _find_arguments
from services.status.domain.block import ALL_EVENTS, FAULT_EVENTS, RECORDS
from services.status.domain.job import (
    Job,
    JobChange,
    JobState,
    apply_update,
    apply_update_blind,
    new_job,
    publish_chunks,
)
from services.status.domain.listing import JobListQuery, ListPosition, list_position
from services.status.domain.profile import JobProfile, SiteProfile
from services.status.domain.updates import group_by_job
from services.status.flows.apply_events import Deps, apply_events
from services.status.ports import JobTooLargeError
from services.values.instants import MAX_INSTANT_US, MIN_INSTANT_US
from tests.jobs.events import CREATED_US, JOB, a_header, a_run, expired, judged, opened
from tests.status.builders import DEMO_SITE, a_profile
from tests.status.fakes import FakeFinishedPublisher, FakeNotifier, FakeSiteProfiles, MemoryJobStore

Jobs = MongoJobStore | MemoryJobStore

BOTH_DRIVERS = ["motor", "pymongo"]
MIB = 1024 * 1024


@dataclass
class Database:
    """A database of its own."""

    mongo: Mongo
    jobs: MongoJobStore


@asynccontextmanager
async def a_database(uri: str, driver: str) -> AsyncIterator[Database]:
    settings = MongoSettings(mongodb_uri=uri, mongodb_database=f"t{uuid4().hex[:12]}", mongo_driver=driver)
    mongo = Mongo.connect(settings, retry_writes=False)
    jobs = MongoJobStore(mongo, now=lambda: datetime.now(UTC))
    try:
        await jobs.create_indexes(retention_days=30)
        yield Database(mongo, jobs)
        await mongo.client.drop_database(settings.mongodb_database)
    finally:
        await mongo.close()


@pytest.fixture(params=["memory", *BOTH_DRIVERS])
async def jobs(request: pytest.FixtureRequest) -> AsyncIterator[Jobs]:
    if request.param == "memory":
        yield MemoryJobStore()
        return
    async with a_database(request.getfixturevalue("mongodb_uri"), request.param) as database:
        yield database.jobs


def build_deps(jobs: Jobs) -> Deps:
    return Deps(
        jobs=jobs,
        site_profiles=FakeSiteProfiles(),
        notifier=FakeNotifier(),
        finished=FakeFinishedPublisher(),
        now_us=lambda: 0,
    )


def the_change(*events: JobEvent, known: Job | None = None) -> JobChange:
    (update,) = group_by_job(events).values()
    stored = new_job(a_profile(events[0].header.total))
    change = apply_update(stored, update) if known is None else apply_update_blind(known.profile, update)
    assert change is not None
    return change


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


def a_listed_job(
    number: int, *, site: int = 608, mode: str = "offline", type_: str = "orders", created_us: int | None = None
) -> JobChange:
    """Unless another time is given, one job a microsecond; every third is still open."""
    key = JobKey(site, f"{number:08d}-0167-11ee-b91c-b9178e343914")
    header = JobHeader(key, 1, CREATED_US + number if created_us is None else created_us, mode, type_)
    events = [opened(header), *([judged(a_run("S"), header)] if number % 3 else [])]
    (update,) = group_by_job(events).values()
    change = apply_update(new_job(JobProfile(header, DEMO_SITE)), update)
    assert change is not None
    return change


def some_jobs() -> list[JobChange]:
    """Nine jobs of site 608, and one of another site."""
    return [
        a_listed_job(
            number,
            site=609 if number == 9 else 608,
            mode="online" if number % 2 else "offline",
            type_="returns" if number > 4 else "orders",
        )
        for number in range(10)
    ]


def shown(found: Sequence[Job]) -> list[int]:
    return [int(job.key.job_id[:8]) for job in found]


@pytest.mark.parametrize(
    ("listing", "expected"),
    [
        (JobListQuery(608), [8, 7, 6, 5, 4, 3, 2, 1, 0]),
        (JobListQuery(608, rows=2), [8, 7, 6]),
        (JobListQuery(609), [9]),
        (JobListQuery(608, state=JobState.RECEIVED), [6, 3, 0]),
        (JobListQuery(608, type="returns"), [8, 7, 6, 5]),
        (JobListQuery(608, mode="online"), [7, 5, 3, 1]),
        (JobListQuery(608, state=JobState.COMPLETED, type="orders", mode="online"), [1]),
        (JobListQuery(608, from_us=CREATED_US + 3, to_us=CREATED_US + 6), [5, 4, 3]),
    ],
    ids=str,
)
async def test_jobs_are_listed_newest_first(jobs: Jobs, listing: JobListQuery, expected: list[int]) -> None:
    await jobs.write(some_jobs())
    found = await jobs.list_jobs(listing)
    assert shown(found) == expected
    assert shown(await jobs.list_jobs(replace(listing, after=list_position(found[0]))))[:2] == expected[1:3]


async def test_a_list_shows_what_has_changed_since_the_last_one(jobs: Jobs) -> None:
    first = the_change(opened())
    await jobs.write([first])
    assert await jobs.list_jobs(JobListQuery(608)) == [first.job]
    second = the_change(judged(a_run("SF")), known=first.job)
    await jobs.write([second])
    assert await jobs.list_jobs(JobListQuery(608)) == [second.job]


FIRST_ID, LAST_ID = "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"


async def test_jobs_of_any_time_are_listed_in_order(jobs: Jobs) -> None:
    times = [MIN_INSTANT_US, -256, -1, 0, 1, 255, 256, CREATED_US, MAX_INSTANT_US]
    await jobs.write([a_listed_job(number, created_us=us) for number, us in enumerate(times)])
    assert shown(await jobs.list_jobs(JobListQuery(608))) == [8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert shown(await jobs.list_jobs(JobListQuery(608, from_us=-1, to_us=255))) == [4, 3, 2]
    assert shown(await jobs.list_jobs(JobListQuery(608, from_us=-1, after=ListPosition(1, LAST_ID)))) == [4, 3, 2]


async def test_jobs_of_one_instant_are_listed_once_each(jobs: Jobs) -> None:
    ids = [str(uuid4()) for _ in range(5)]
    await jobs.write(
        [JobChange(0, Job(a_profile(key=JobKey(608, i)), 1, 1, new_job(a_profile()).job.tally)) for i in ids]
    )
    found, after = [], None
    while True:
        page = (await jobs.list_jobs(JobListQuery(608, rows=2, after=after)))[:2]
        if not page:
            break
        found += [job.key.job_id for job in page]
        after = list_position(page[-1])
    assert found == sorted(ids, reverse=True)


@pytest.mark.parametrize(
    ("listing", "expected"),
    [
        (JobListQuery(608, from_us=CREATED_US, to_us=CREATED_US + 1), [LAST_ID, FIRST_ID]),
        (JobListQuery(608, to_us=CREATED_US), []),
        (JobListQuery(608, from_us=CREATED_US + 1), []),
        (JobListQuery(608, after=ListPosition(CREATED_US, LAST_ID)), [FIRST_ID]),
        (JobListQuery(608, after=ListPosition(CREATED_US, FIRST_ID)), []),
        (JobListQuery(608, after=ListPosition(CREATED_US + 1, FIRST_ID)), [LAST_ID, FIRST_ID]),
    ],
    ids=["from it", "up to it", "from the next", "after its last", "after its first", "after the next"],
)
async def test_every_id_of_an_instant_is_within_it(jobs: Jobs, listing: JobListQuery, expected: list[str]) -> None:
    whole = new_job(a_profile()).job.tally
    await jobs.write([JobChange(0, Job(a_profile(key=JobKey(608, i)), 1, 1, whole)) for i in (FIRST_ID, LAST_ID)])
    assert [job.key.job_id for job in await jobs.list_jobs(listing)] == expected


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


async def test_open_jobs_are_counted_by_state(mongodb_uri: str) -> None:
    async with a_database(mongodb_uri, "motor") as database:
        assert await database.jobs.count_open() == {JobState.RECEIVED: 0, JobState.VALIDATING: 0}
        await database.jobs.write([a_listed_job(number) for number in range(30)])
        await database.jobs.write([a_listed_job(number, site=609) for number in range(30, 36)])
        counted = await database.jobs.count_open()
    assert counted == {JobState.RECEIVED: 12, JobState.VALIDATING: 0}


@pytest.mark.parametrize("after", [None, 1_000], ids=["first page", "a later one"])
@pytest.mark.parametrize(("mode", "most_keys"), [(None, 21), ("online", 40), ("offline", 40)])
async def test_no_page_of_a_list_reads_more_than_it_shows(
    mongodb_uri: str, mode: str | None, most_keys: int, after: int | None
) -> None:
    """Cost must not grow with the number of jobs of any site: keys and documents examined stay near the page's size."""
    async with a_database(mongodb_uri, "pymongo") as database:
        many = [a_listed_job(number, mode="offline" if number % 50 else "online") for number in range(2_000)]
        elsewhere = [a_listed_job(number, site=609) for number in range(0, 2_000, 4)]
        await database.jobs.write([*many, *elsewhere])
        position = list_position(many[after].job) if after is not None else None
        arguments = _find_arguments(JobListQuery(608, rows=19, mode=mode, after=position))
        plan = await database.mongo.collection(JOBS).find(**arguments).explain()
    assert plan["executionStats"]["nReturned"] == 20
    assert plan["executionStats"]["totalDocsExamined"] == 20
    assert plan["executionStats"]["totalKeysExamined"] <= most_keys


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
