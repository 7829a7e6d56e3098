"""Judges submitted records and publishes the verdicts."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from services.chassis.kafka.dead_letter_limit import DeadLetterLimit
from services.chassis.runtime.errors import UnavailableError
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
    has_valid_job,
    judge_record,
)
from services.validator.ports import Catalogue, Publisher, RecordReader

_LOG = logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything that judging depends on."""

    reader: RecordReader
    catalogue: Catalogue
    publisher: Publisher
    dead_letter_limit: DeadLetterLimit
    currencies: AbstractSet[str]
    max_job_records: int
    now_us: Callable[[], int]


async def judge(submitted: Mapping[Hashable, Sequence[SubmittedRecord]], deps: Deps) -> Mapping[Hashable, int]:
    """Judge the records of each partition in order, and publish the verdicts.

    Returns how many of each partition's records are done: all, unless the dead-letter limit halted the partition, or
    the next record's schema could not be looked up. Every verdict on those is acknowledged, so the caller may commit.
    Raises `UnavailableError` if Kafka did not acknowledge the verdicts; judging the same records again is harmless
    (`docs/delivery.md`).
    """
    at_us = deps.now_us()
    counts = await deps.reader.prefetch_schemas(submitted.values())
    judged = {
        partition: _judge_all(records[:count], deps, at_us)
        for (partition, records), count in zip(submitted.items(), counts, strict=True)
    }
    dead = {
        partition: [position for position, verdict in enumerate(verdicts) if type(verdict) is Unprocessable]
        for partition, verdicts in judged.items()
    }
    allowed = {
        partition: deps.dead_letter_limit.allowed(partition, len(verdicts), dead[partition])
        for partition, verdicts in judged.items()
    }
    published = [verdict for partition, verdicts in judged.items() for verdict in verdicts[: allowed[partition]]]
    await deps.publisher.publish(published, at_us=at_us)
    for partition, verdicts in judged.items():
        deps.dead_letter_limit.record(partition, len(verdicts), dead[partition])
    _count(published)
    return allowed


async def judge_only(kind: str, values: Sequence[bytes], deps: Deps) -> list[Verdict]:
    """Judge records that were not submitted, as `judge` would now; publish, count and log nothing.

    Raises `UnavailableError` while the schema registry has not answered for the schema of a value.
    """
    submitted = [SubmittedRecord(kind, "", 0, position, 0, None, value, ()) for position, value in enumerate(values)]
    (count,) = await deps.reader.prefetch_schemas([submitted])
    if count < len(submitted):
        raise UnavailableError("the schema registry")
    at_us = deps.now_us()
    return _judge_all(submitted, deps, at_us)


def _judge_all(records: Sequence[SubmittedRecord], deps: Deps, now_us: int) -> list[Verdict]:
    match_fast, products_of = deps.reader.match_fast, deps.catalogue.products
    currencies, max_job_records = deps.currencies, deps.max_job_records
    verdicts: list[Verdict] = []
    for submitted in records:
        # Then the same record gets the same verdict, whenever it is judged.
        at_us = submitted.timestamp * 1000 if submitted.is_broker_time else now_us
        summary = match_fast(submitted, at_us, currencies, products_of)
        if summary is not None and has_valid_job(summary, submitted.kind, max_job_records, at_us):
            verdicts.append(Accepted(submitted, summary))
        else:
            verdicts.append(_judge_decoded(submitted, deps, at_us))
    return verdicts


def _judge_decoded(submitted: SubmittedRecord, deps: Deps, at_us: int) -> Verdict:
    record = deps.reader.decode(submitted)
    if isinstance(record, DeadLetterReason):
        return _unprocessable(submitted, record, None, deps, at_us)
    if reason := check_job_ref(record.job, kind=submitted.kind, max_job_records=deps.max_job_records, now_us=at_us):
        return _unprocessable(submitted, reason, record, deps, at_us)
    return judge_record(
        submitted, record, products=deps.catalogue.products(record.site), currencies=deps.currencies, now_us=at_us
    )


def _unprocessable(
    submitted: SubmittedRecord, reason: DeadLetterReason, record: SalesRecord | None, deps: Deps, at_us: int
) -> Unprocessable:
    job = job_from_headers(submitted, record=record, max_job_records=deps.max_job_records, now_us=at_us)
    header, index = job or (None, 0)
    return Unprocessable(submitted, reason.code, reason.detail, header, index)


def _count(verdicts: Sequence[Verdict]) -> None:
    counts: dict[tuple[str, str], int] = {}
    for verdict in verdicts:
        match verdict:
            case Accepted():
                outcome = "accepted"
            case Rejected(faults=faults):
                outcome = "rejected"
                for fault in faults:
                    metrics.FAULTS.labels(fault.code).inc()
            case Unprocessable():
                outcome = "unprocessable"
                _log_dead_letter(verdict)
        labels = (verdict.source.kind, outcome)
        counts[labels] = counts.get(labels, 0) + 1
    for (kind, outcome), count in counts.items():
        metrics.RECORDS.labels(kind, outcome).inc(count)


def _log_dead_letter(verdict: Unprocessable) -> None:
    submitted, header = verdict.source, verdict.header
    _LOG.warning(
        "record dead-lettered",
        topic=submitted.topic,
        partition=submitted.partition,
        offset=submitted.offset,
        reason=verdict.reason,
        **({"jobId": header.job_id} if header else {}),
        **{
            name: escape_for_log((value or b"").decode("latin-1"))
            for name, value in submitted.headers
            if name == "traceparent"
        },
    )
