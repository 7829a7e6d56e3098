"""The verdict on one record: accepted, rejected for its faults, or not to be processed at all."""

from collections.abc import Container
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from services.jobs.events import Fault, JobHeader, JobRef
from services.sales.faults import first_faults
from services.sales.fields import MAX_FUTURE_US
from services.sales.records import RecordSummary, SalesRecord
from services.sales.rules import check_record, find_unknown_products
from services.sales.verdicts import validate_job_ref
from services.validator.domain.submitted_record import DeadLetterReason, SubmittedRecord
from services.values.instants import MIN_INSTANT_US


class Accepted(NamedTuple):
    """It keeps every rule and its products are known."""

    source: SubmittedRecord
    record: SalesRecord | RecordSummary


class Rejected(NamedTuple):
    """It is a record, with faults."""

    source: SubmittedRecord
    record: SalesRecord
    faults: list[Fault]


class Unprocessable(NamedTuple):
    """It cannot be judged; it becomes a dead letter, and a failed record of its job where that is known."""

    source: SubmittedRecord
    reason: str
    detail: str
    header: JobHeader | None = None
    job_index: int = 0


Verdict = Accepted | Rejected | Unprocessable


def judge_record(
    source: SubmittedRecord, record: SalesRecord, *, products: Container[str], currencies: AbstractSet[str], now_us: int
) -> Accepted | Rejected:
    """Judge a record by the rules and the catalogue."""
    faults = check_record(record, now_us=now_us, currencies=currencies)
    unknown = find_unknown_products(record, products)
    if not faults and not unknown:
        return Accepted(source, record)
    return Rejected(source, record, first_faults([*faults, *unknown]))


def passes_fast_check(
    summary: RecordSummary, *, products: Container[str], kind: str, max_job_records: int, now_us: int
) -> bool:
    """Whether all products of a record that keeps every rule are known, and nothing is wrong with its place in its job.

    A no may be mistaken, a yes is not: the id of a job that was seen is a UUID.
    """
    for product in summary.product_ids:
        if product not in products:
            return False
    job = summary.job
    return job is None or (
        job.type == kind
        and 0 <= summary.index < job.total <= max_job_records
        and MIN_INSTANT_US <= job.created_at <= now_us + MAX_FUTURE_US
    )


def check_job_ref(job: JobRef | None, *, kind: str, max_job_records: int, now_us: int) -> DeadLetterReason | None:
    """Why a record's place in its job cannot be, or None."""
    if job is None:
        return None
    if job.type != kind:
        return DeadLetterReason("misplaced", "the job's type is not that of the topic")
    if why := validate_job_ref(job, max_total=max_job_records):
        return DeadLetterReason("misplaced", why)
    # Whoever reports on jobs sorts them by this time, and ends those that are too old.
    if not MIN_INSTANT_US <= job.created_at <= now_us + MAX_FUTURE_US:
        return DeadLetterReason("misplaced", "createdAt is out of bounds")
    return None
