"""From submitted records to verdicts that others can rely on."""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from services.chassis.runtime.logs import escape_for_log, logger
from services.sales.records import SalesRecord
from services.validator import metrics
from services.validator.domain.job_headers import job_named_by
from services.validator.domain.submitted import Submitted, Unreadable
from services.validator.domain.verdict import Accepted, Rejected, Unprocessable, Verdict, ill_placed, is_sure, verdict
from services.validator.ports import Catalogue, DeadLetterLimit, Place, Publisher, Reader

_LOG = logger(__name__)

Counts = dict[tuple[str, str], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything judging may touch."""

    reader: Reader
    catalogue: Catalogue
    publisher: Publisher
    brake: DeadLetterLimit
    currencies: AbstractSet[str]
    largest_job: int
    now_us: Callable[[], int]


async def judge(submitted: Mapping[Place, Sequence[Submitted]], world: World) -> Mapping[Place, int]:
    """Judge the records of each partition, in their order, and publish what came of them.

    Returns how many of each partition's records are done with: all, unless the brake stopped it. Every verdict is
    acknowledged then, so the caller may commit. Raises `Away` when Kafka did not take them, or when what is needed to
    read them is away; judging the same records again is harmless (`docs/delivery.md`).
    """
    at_us = world.now_us()
    await world.reader.prepare(submitted.values())
    judged = {place: [_verdict(item, world, at_us) for item in items] for place, items in submitted.items()}
    dead = {place: _dead(items) for place, items in judged.items()}
    admitted = {place: world.brake.allowed(place, len(items), dead[place]) for place, items in judged.items()}
    verdicts = [item for place, items in judged.items() for item in items[: admitted[place]]]
    await world.publisher.publish(verdicts, at_us=at_us)
    for place, items in judged.items():
        world.brake.record(place, len(items), dead[place])
    _count(verdicts)
    return admitted


def _verdict(submitted: Submitted, world: World, at_us: int) -> Verdict:
    seen = world.reader.seen(submitted, now_us=at_us, currencies=world.currencies)
    if seen is not None and is_sure(
        seen,
        products=world.catalogue.products_of(seen.site),
        kind=submitted.kind,
        largest_job=world.largest_job,
        now_us=at_us,
    ):
        return Accepted(submitted, seen)
    record = world.reader.read(submitted)
    if isinstance(record, Unreadable):
        return _unprocessable(submitted, record, None, world, at_us)
    if wrong := ill_placed(record.job, kind=submitted.kind, largest_job=world.largest_job, now_us=at_us):
        return _unprocessable(submitted, wrong, record, world, at_us)
    return verdict(
        submitted,
        record,
        products=world.catalogue.products_of(record.site),
        currencies=world.currencies,
        now_us=at_us,
    )


def _unprocessable(
    submitted: Submitted, why: Unreadable, read: SalesRecord | None, world: World, at_us: int
) -> Unprocessable:
    named = job_named_by(submitted, read=read, largest_job=world.largest_job, now_us=at_us)
    if named is None:
        return Unprocessable(submitted, why.reason, why.detail)
    header, index = named
    return Unprocessable(submitted, why.reason, why.detail, header, index)


def _dead(verdicts: Sequence[Verdict]) -> list[int]:
    return [position for position, item in enumerate(verdicts) if type(item) is Unprocessable]


def _tell(given_up: Unprocessable) -> None:
    submitted, header = given_up.submitted, given_up.header
    _LOG.warning(
        "a record was given up",
        topic=submitted.topic,
        partition=submitted.partition,
        offset=submitted.offset,
        reason=given_up.reason,
        **({"jobId": header.job_id} if header else {}),
        **{
            name: escape_for_log((value or b"").decode("latin-1"))
            for name, value in submitted.headers
            if name == "traceparent"
        },
    )


def _count(verdicts: Sequence[Verdict]) -> None:
    counts: Counts = {}
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
                _tell(item)
        place = (item.submitted.kind, outcome)
        counts[place] = counts.get(place, 0) + 1
    for (kind, outcome), count in counts.items():
        metrics.RECORDS.labels(kind, outcome).inc(count)
