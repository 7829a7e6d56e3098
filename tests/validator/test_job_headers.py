"""The job that a record's headers name."""

from typing import Any

import pytest

from services.jobs.events import JobHeader
from services.validator.domain.job_headers import job_from_headers
from services.values.time_uuids import time_uuid
from tests.validator.records import (
    JOB_ID,
    NOW_MS,
    NOW_US,
    OTHER_JOB_ID,
    a_job,
    a_submitted_record,
    an_order,
    job_headers,
)

FIVE_MINUTES = 300_000_000
RANDOM_ID = "0b0e7d9c-7f5c-4b8a-9a43-5f2d3b9c1a11"


def job_named_by(headers: Any, **options: Any) -> tuple[JobHeader, int] | None:
    item = a_submitted_record(b"poison", headers=headers, timestamp=options.pop("timestamp", NOW_MS))
    return job_from_headers(item, **{"max_job_records": 1000, "now_us": NOW_US, **options})


def test_headers_name_the_job_and_the_place_in_it() -> None:
    job = job_named_by(job_headers(total=7, index=6))
    assert job is not None
    header, index = job
    assert (header.site, header.job_id, header.total, header.type, index) == (608, JOB_ID, 7, "orders", 6)


@pytest.mark.parametrize(
    "headers",
    [
        (),
        job_headers()[1:],
        job_headers()[:1] + job_headers()[2:],
        job_headers()[:3],
        job_headers(site="-1"),
        job_headers(site=""),
        job_headers(site="6 08"),
        job_headers(site="\u0666"),
        job_headers(total=0),
        job_headers(total=1001),
        job_headers(index=3),
        job_headers(index="-1"),
        job_headers(index="1" * 19),
        job_headers("not a uuid"),
        job_headers(JOB_ID.upper()),
        tuple((name, None) for name, _ in job_headers()),
    ],
)
def test_headers_that_name_no_job_soundly_name_none(headers: Any) -> None:
    assert job_named_by(headers) is None


@pytest.mark.parametrize("after", [-5, FIVE_MINUTES])
def test_the_jobs_id_tells_when_it_was_made(after: int) -> None:
    job_id = time_uuid(NOW_US + after, clock_seq=1, node=1)
    job = job_named_by(job_headers(job_id), timestamp=NOW_MS - 60_000)
    assert job is not None
    assert job[0].created_at == NOW_US + after


def test_headers_may_name_the_last_of_the_largest_job() -> None:
    job = job_named_by(job_headers(total=1000, index=999))
    assert job is not None
    assert (job[0].total, job[1]) == (1000, 999)


@pytest.mark.parametrize("job_id", [RANDOM_ID, time_uuid(NOW_US + 2 * FIVE_MINUTES, clock_seq=1, node=1)])
@pytest.mark.parametrize(
    ("timestamp", "created_at"),
    [(NOW_MS - 7, NOW_US - 7000), (-1, NOW_US), (0, NOW_US), (2**60, NOW_US), (NOW_MS, NOW_US)],
)
def test_an_id_that_does_not_tell_leaves_it_to_the_record(job_id: str, timestamp: int, created_at: int) -> None:
    job = job_named_by(job_headers(job_id), timestamp=timestamp)
    assert job is not None
    assert job[0].created_at == created_at


@pytest.mark.parametrize(
    ("record", "is_named"),
    [
        (None, True),
        (an_order(job=a_job()), True),
        (an_order(), False),
        (an_order(job=a_job(job_id=OTHER_JOB_ID)), False),
        (an_order(site=609, job=a_job()), False),
    ],
)
def test_a_record_that_can_be_read_speaks_for_itself(record: Any, *, is_named: bool) -> None:
    assert (job_named_by(job_headers(), record=record) is not None) == is_named
