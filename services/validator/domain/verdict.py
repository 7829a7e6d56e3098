"""The verdict on a record: accepted, rejected for its faults, or unprocessable."""

from collections.abc import Container
from collections.abc import Set as AbstractSet

from msgspec import Struct

from services.jobs.events import Fault, JobHeader, JobRef
from services.sales.faults import first_faults, unprocessable
from services.sales.field_types import OTHER_UNIT, YEAR_2020_US
from services.sales.outcome_runs import validate_job_ref
from services.sales.records import RecordSummary, SalesRecord
from services.sales.rules import check_record, find_unknown_products
from services.validator.domain.submitted_record import DeadLetterReason, SubmittedRecord
from services.values.instants import latest_valid_us


class Accepted(Struct, frozen=True, gc=False):
    """The record keeps every rule, and its products are in the catalogue."""

    source: SubmittedRecord
    record: SalesRecord | RecordSummary


class Rejected(Struct, frozen=True, gc=False):
    """The record can be decoded and has faults."""

    source: SubmittedRecord
    record: SalesRecord
    faults: list[Fault]


class Unprocessable(Struct, frozen=True, gc=False):
    """The record cannot be judged: it becomes a dead letter, and a failed record of its job if that is known."""

    source: SubmittedRecord
    reason: str
    detail: str
    header: JobHeader | None = None
    job_index: int = 0


Verdict = Accepted | Rejected | Unprocessable


def faults_of(verdict: Verdict) -> list[Fault]:
    """Return the faults that the verdict reports; none for an accepted record."""
    match verdict:
        case Accepted():
            return []
        case Rejected(faults=faults):
            return faults
        case Unprocessable():
            return [unprocessable()]


def judge_record(
    source: SubmittedRecord, record: SalesRecord, *, products: Container[str], currencies: AbstractSet[str], now_us: int
) -> Accepted | Rejected:
    """Judge a record by the rules and the catalogue."""
    faults = check_record(record, now_us=now_us, currencies=currencies)
    unknown_products = find_unknown_products(record, products)
    if not faults and not unknown_products:
        return Accepted(source, record)
    return Rejected(source, record, first_faults([*faults, *unknown_products]))


def has_valid_job(summary: RecordSummary, kind: str, max_job_records: int, now_us: int) -> bool:
    """Whether a record that keeps every rule has a valid job reference, or none.

    The job's id need not be checked: only UUIDs make it into a summary.
    """
    job = summary.job
    return job is None or (
        job.type == kind
        and 0 <= summary.index < job.total <= max_job_records
        and YEAR_2020_US <= job.created_at <= latest_valid_us(now_us)
    )


def check_job_ref(job: JobRef | None, *, kind: str, max_job_records: int, now_us: int) -> DeadLetterReason | None:
    """Return why the record cannot belong to the job that it names; None if it can, or names none."""
    if job is None:
        return None
    if job.type != kind:
        return DeadLetterReason("invalid-job", "the job's type is not that of the topic")
    if detail := validate_job_ref(job, max_total=max_job_records):
        return DeadLetterReason("invalid-job", detail)
    # Status sorts jobs by this time, and expires those that are too old.
    if job.created_at < YEAR_2020_US:
        return DeadLetterReason("invalid-job", f"createdAt is before 2020: {OTHER_UNIT}")
    if job.created_at > latest_valid_us(now_us):
        return DeadLetterReason("invalid-job", "createdAt is out of bounds")
    return None
