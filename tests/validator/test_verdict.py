"""Judging a record, without I/O."""

from typing import Any

import pytest

from services.jobs.events import JobHeader, JobKey, JobRef
from services.sales.field_types import YEAR_2020_US
from services.sales.records import RecordSummary
from services.validator.domain.verdict import Accepted, Rejected, check_job_ref, has_valid_job, judge_record
from services.values.time_uuids import is_uuid
from tests.sales.samples import CURRENCIES
from tests.validator.records import JOB_ID, NOW_US, a_job, a_return, a_submitted_record, an_order

FIVE_MINUTES = 300_000_000
JOB_REFS: list[tuple[dict[str, Any], bool]] = [
    ({}, True),
    ({"index": 999, "total": 1000}, True),
    ({"created_at": NOW_US + FIVE_MINUTES}, True),
    ({"created_at": YEAR_2020_US}, True),
    ({"index": 3}, False),
    ({"index": -1}, False),
    ({"total": 0}, False),
    ({"total": 1001}, False),
    ({"total": -5, "index": -9}, False),
    ({"type": "returns"}, False),
    ({"job_id": "x"}, False),
    ({"job_id": JOB_ID.upper()}, False),
    ({"created_at": NOW_US + FIVE_MINUTES + 1}, False),
    ({"created_at": YEAR_2020_US - 1}, False),
    ({"created_at": NOW_US // 1_000}, False),
    ({"created_at": 0}, False),
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
        assert has_valid_job(a_summary(job), kind="orders", max_job_records=1000, now_us=NOW_US) == is_valid


def a_summary(job: JobRef | None) -> RecordSummary:
    header = JobHeader(JobKey(608, job.job_id), job.total, job.created_at, job.mode, job.type) if job else None
    return RecordSummary(608, header, job.index if job else 0, None, "1", None, "u", "offline")


def test_no_job_is_no_fault() -> None:
    assert check_job_ref(None, kind="orders", max_job_records=1000, now_us=NOW_US) is None
    assert has_valid_job(a_summary(None), kind="orders", max_job_records=1000, now_us=NOW_US)


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
