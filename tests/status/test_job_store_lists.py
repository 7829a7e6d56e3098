"""Lists and counts of jobs, from every keeper of jobs."""

from collections.abc import Sequence
from uuid import uuid4

import pytest
from msgspec.structs import replace

from services.jobs.events import JobHeader, JobKey
from services.status.adapters.job_store import JOBS, _find_arguments
from services.status.domain.job import Job, JobChange, JobState, apply_update, new_job
from services.status.domain.listing import JobListQuery, ListPosition, list_position
from services.status.domain.profile import JobProfile
from services.status.domain.updates import group_by_job
from services.values.instants import MAX_INSTANT_US, MIN_INSTANT_US
from tests.jobs.events import CREATED_US, a_run, judged, opened
from tests.status.builders import DEMO_SITE, a_profile
from tests.status.job_store_fixtures import Jobs, a_database, the_change


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
