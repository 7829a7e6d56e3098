"""From submitted records to verdicts that others can rely on."""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from services.sales.records import JobHeader
from services.validator import metrics
from services.validator.domain.job_headers import job_named_by
from services.validator.domain.submitted import Submitted, Unreadable
from services.validator.domain.verdict import Accepted, Rejected, Unprocessable, Verdict, ill_placed, verdict
from services.validator.ports import Catalogue, Publisher, Reader


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything judging may touch."""

    reader: Reader
    catalogue: Catalogue
    publisher: Publisher
    currencies: AbstractSet[str]
    largest_job: int
    now_us: Callable[[], int]


async def judge(submitted: Sequence[Submitted], world: World) -> None:
    """Judge records, those of a partition in their order, and publish what came of them.

    Returns once every verdict is acknowledged, so the caller may commit. Raises `Away` when Kafka did not take them;
    judging the same records again is harmless (`docs/delivery.md`).
    """
    at_us = world.now_us()
    verdicts = [_verdict(item, world, at_us) for item in submitted]
    await world.publisher.publish(verdicts, at_us=at_us)
    _count(verdicts)


def _verdict(submitted: Submitted, world: World, at_us: int) -> Verdict:
    record = world.reader.read(submitted)
    if isinstance(record, Unreadable):
        return _unprocessable(submitted, record, world)
    if wrong := ill_placed(record.job, kind=submitted.kind, largest_job=world.largest_job):
        return Unprocessable(submitted, wrong.reason, wrong.detail)
    return verdict(
        submitted,
        record,
        products=world.catalogue.products_of(record.site),
        currencies=world.currencies,
        now_us=at_us,
    )


def _unprocessable(submitted: Submitted, why: Unreadable, world: World) -> Unprocessable:
    named: tuple[JobHeader, int] | None = job_named_by(submitted, largest_job=world.largest_job)
    if named is None:
        return Unprocessable(submitted, why.reason, why.detail)
    header, index = named
    return Unprocessable(submitted, why.reason, why.detail, header, index)


def _count(verdicts: Sequence[Verdict]) -> None:
    counts: dict[tuple[str, str], int] = {}
    for item in verdicts:
        match item:
            case Accepted():
                outcome = "accepted"
            case Rejected(faults=faults):
                outcome = "rejected"
                for fault in faults:
                    metrics.FAULTS.labels(fault.code).inc()
            case Unprocessable():
                outcome = "unprocessable"
        place = (item.submitted.kind, outcome)
        counts[place] = counts.get(place, 0) + 1
    for (kind, outcome), count in counts.items():
        metrics.RECORDS.labels(kind, outcome).inc(count)
