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
from services.validator.domain.submitted import Submitted, Unreadable
from services.values.instants import MIN_INSTANT_US


class Accepted(NamedTuple):
    """It keeps every rule and its products are known."""

    submitted: Submitted
    record: SalesRecord | RecordSummary


class Rejected(NamedTuple):
    """It is a record, with faults."""

    submitted: Submitted
    record: SalesRecord
    faults: list[Fault]


class Unprocessable(NamedTuple):
    """It cannot be judged; it becomes a dead letter, and a failed record of its job where that is known."""

    submitted: Submitted
    reason: str
    detail: str
    header: JobHeader | None = None
    position: int = 0


Verdict = Accepted | Rejected | Unprocessable


def verdict(
    submitted: Submitted, record: SalesRecord, *, products: Container[str], currencies: AbstractSet[str], now_us: int
) -> Accepted | Rejected:
    """Judge a record by the rules and the catalogue."""
    faults = check_record(record, now_us=now_us, currencies=currencies)
    unknown = find_unknown_products(record, products)
    if not faults and not unknown:
        return Accepted(submitted, record)
    return Rejected(submitted, record, first_faults([*faults, *unknown]))


def is_sure(seen: RecordSummary, *, products: Container[str], kind: str, largest_job: int, now_us: int) -> bool:
    """Whether all products of a record that keeps every rule are known, and nothing is wrong with its place in its job.

    A no may be mistaken, a yes is not: the id of a job that was seen is a UUID.
    """
    for product in seen.product_ids:
        if product not in products:
            return False
    job = seen.job
    return job is None or (
        job.type == kind
        and 0 <= seen.index < job.total <= largest_job
        and MIN_INSTANT_US <= job.created_at <= now_us + MAX_FUTURE_US
    )


def ill_placed(job: JobRef | None, *, kind: str, largest_job: int, now_us: int) -> Unreadable | None:
    """Why a record's place in its job cannot be, or None."""
    if job is None:
        return None
    if job.type != kind:
        return Unreadable("misplaced", "the job's type is not that of the topic")
    if why := validate_job_ref(job, max_total=largest_job):
        return Unreadable("misplaced", why)
    # Whoever reports on jobs sorts them by this time, and ends those that are too old.
    if not MIN_INSTANT_US <= job.created_at <= now_us + MAX_FUTURE_US:
        return Unreadable("misplaced", "createdAt is out of bounds")
    return None
