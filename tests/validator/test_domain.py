"""Judging a record, without I/O."""

from typing import Any

import pytest

from services.jobs.events import JobHeader, JobKey, JobRef
from services.sales.records import RecordSummary
from services.validator.domain.job_headers import job_from_headers
from services.validator.domain.verdict import Accepted, Rejected, check_job_ref, judge_record, passes_fast_check
from services.values.instants import MIN_INSTANT_US
from services.values.time_uuids import is_uuid, time_uuid
from tests.sales.sample import CURRENCIES
from tests.validator.records import (
    JOB_ID,
    NOW_MS,
    NOW_US,
    OTHER_JOB_ID,
    a_job,
    a_return,
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
    ("timestamp", "created_at"), [(NOW_MS - 7, NOW_US - 7000), (-1, 0), (2**60, NOW_US), (NOW_MS, NOW_US)]
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


JOB_REFS: list[tuple[dict[str, Any], bool]] = [
    ({}, True),
    ({"index": 999, "total": 1000}, True),
    ({"created_at": NOW_US + FIVE_MINUTES}, True),
    ({"created_at": MIN_INSTANT_US}, True),
    ({"index": 3}, False),
    ({"index": -1}, False),
    ({"total": 0}, False),
    ({"total": 1001}, False),
    ({"total": -5, "index": -9}, False),
    ({"type": "returns"}, False),
    ({"job_id": "x"}, False),
    ({"job_id": JOB_ID.upper()}, False),
    ({"created_at": NOW_US + FIVE_MINUTES + 1}, False),
    ({"created_at": MIN_INSTANT_US - 1}, False),
    ({"created_at": -(2**63)}, False),
]


@pytest.mark.parametrize(("changes", "is_valid"), JOB_REFS)
def test_a_job_reference_must_be_valid(changes: dict[str, Any], *, is_valid: bool) -> None:
    reason = check_job_ref(a_job(**changes), kind="orders", max_job_records=1000, now_us=NOW_US)
    assert (reason is None) == is_valid
    if reason is not None:
        assert reason.code == "invalid-job"


@pytest.mark.parametrize(("changes", "is_valid"), JOB_REFS)
def test_what_passes_the_fast_check_must_have_a_valid_job_reference(changes: dict[str, Any], *, is_valid: bool) -> None:
    job = a_job(**changes)
    if is_uuid(job.job_id):
        assert (
            passes_fast_check(a_summary(job), products=(), kind="orders", max_job_records=1000, now_us=NOW_US)
            == is_valid
        )


def a_summary(job: JobRef | None, *products: str) -> RecordSummary:
    header = JobHeader(JobKey(608, job.job_id), job.total, job.created_at, job.mode, job.type) if job else None
    return RecordSummary(608, header, job.index if job else 0, None, "1", None, "u", "offline", list(products))


def test_what_passes_the_fast_check_must_be_of_known_products() -> None:
    for products, is_known in ((["a", "b"], True), (["a"], True), (["a", "c"], False), (["c"], False)):
        summary = a_summary(None, *products)
        assert (
            passes_fast_check(summary, products={"a", "b"}, kind="orders", max_job_records=1, now_us=NOW_US) == is_known
        )


def test_no_job_is_no_fault() -> None:
    assert check_job_ref(None, kind="orders", max_job_records=1000, now_us=NOW_US) is None


def judge(record: Any, products: Any = ("4556", "content__662")) -> Accepted | Rejected:
    return judge_record(
        a_submitted_record(record), record, products=frozenset(products), currencies=CURRENCIES, now_us=NOW_US
    )


@pytest.mark.parametrize("record", [an_order(), a_return()])
def test_what_keeps_every_rule_and_is_in_the_catalogue_is_accepted(record: Any) -> None:
    assert isinstance(judge(record), Accepted)


def test_a_site_without_products_has_no_good_orders() -> None:
    result = judge(an_order(), products=())
    assert isinstance(result, Rejected)
    assert [fault.code for fault in result.faults] == ["PRODUCT_NOT_FOUND"]


def test_faults_of_the_record_come_before_those_of_the_catalogue() -> None:
    result = judge(an_order(currency="usd"), products=())
    assert isinstance(result, Rejected)
    assert [fault.code for fault in result.faults] == ["INVALID_CURRENCY", "PRODUCT_NOT_FOUND"]
