"""From submitted records to verdicts that others can rely on."""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from services.chassis.runtime.logs import escape_for_log, logger
from services.sales.records import SalesRecord
from services.validator import metrics
from services.validator.domain.job_headers import job_from_headers
from services.validator.domain.submitted_record import DeadLetterReason, SubmittedRecord
from services.validator.domain.verdict import (
    Accepted,
    Rejected,
    Unprocessable,
    Verdict,
    check_job_ref,
    judge_record,
    passes_fast_check,
)
from services.validator.ports import Catalogue, DeadLetterLimit, Partition, Publisher, RecordReader

_LOG = logger(__name__)

Counts = dict[tuple[str, str], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything judging may touch."""

    reader: RecordReader
    catalogue: Catalogue
    publisher: Publisher
    dead_letter_limit: DeadLetterLimit
    currencies: AbstractSet[str]
    max_job_records: int
    now_us: Callable[[], int]


async def judge(partitions: Mapping[Partition, Sequence[SubmittedRecord]], deps: Deps) -> Mapping[Partition, int]:
    """Judge the records of each partition, in their order, and publish what came of them.

    Returns how many of each partition's records are done with: all, unless the brake stopped it. Every verdict is
    acknowledged then, so the caller may commit. Raises `Away` when Kafka did not take them, or when what is needed to
    read them is away; judging the same records again is harmless (`docs/delivery.md`).
    """
    at_us = deps.now_us()
    await deps.reader.prefetch_schemas(partitions.values())
    judged = {place: [_judge_one(item, deps, at_us) for item in items] for place, items in partitions.items()}
    dead = {place: _dead_positions(items) for place, items in judged.items()}
    admitted = {
        place: deps.dead_letter_limit.allowed(place, len(items), dead[place]) for place, items in judged.items()
    }
    verdicts = [item for place, items in judged.items() for item in items[: admitted[place]]]
    await deps.publisher.publish(verdicts, at_us=at_us)
    for place, items in judged.items():
        deps.dead_letter_limit.record(place, len(items), dead[place])
    _count(verdicts)
    return admitted


def _judge_one(submitted: SubmittedRecord, world: Deps, at_us: int) -> Verdict:
    seen = world.reader.match_fast(submitted, now_us=at_us, currencies=world.currencies)
    if seen is not None and passes_fast_check(
        seen,
        products=world.catalogue.products(seen.site),
        kind=submitted.kind,
        max_job_records=world.max_job_records,
        now_us=at_us,
    ):
        return Accepted(submitted, seen)
    record = world.reader.decode(submitted)
    if isinstance(record, DeadLetterReason):
        return _unprocessable(submitted, record, None, world, at_us)
    if wrong := check_job_ref(record.job, kind=submitted.kind, max_job_records=world.max_job_records, now_us=at_us):
        return _unprocessable(submitted, wrong, record, world, at_us)
    return judge_record(
        submitted,
        record,
        products=world.catalogue.products(record.site),
        currencies=world.currencies,
        now_us=at_us,
    )


def _unprocessable(
    submitted: SubmittedRecord, why: DeadLetterReason, read: SalesRecord | None, world: Deps, at_us: int
) -> Unprocessable:
    named = job_from_headers(submitted, record=read, max_job_records=world.max_job_records, now_us=at_us)
    if named is None:
        return Unprocessable(submitted, why.code, why.detail)
    header, index = named
    return Unprocessable(submitted, why.code, why.detail, header, index)


def _dead_positions(verdicts: Sequence[Verdict]) -> list[int]:
    return [position for position, item in enumerate(verdicts) if type(item) is Unprocessable]


def _log_dead_letter(given_up: Unprocessable) -> None:
    submitted, header = given_up.source, given_up.header
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
                _log_dead_letter(item)
        place = (item.source.kind, outcome)
        counts[place] = counts.get(place, 0) + 1
    for (kind, outcome), count in counts.items():
        metrics.RECORDS.labels(kind, outcome).inc(count)
