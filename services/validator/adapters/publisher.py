"""Verdicts to Kafka: what they say of the records first, what they mean for the jobs then."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Protocol

from services import topics
from services.chassis.kafka.dead_letters import DeadLetter, DeadLetterSender
from services.chassis.kafka.producer import ProducerRecord
from services.jobs.events import JobHeader, JobRef
from services.sales.faults import unprocessable
from services.sales.records import RecordSummary
from services.sales.verdicts import RecordFailed, RecordPassed, build_verdict_runs
from services.sales.verdicts import Verdict as Told
from services.validator.domain.verdict import Accepted, Rejected, Unprocessable, Verdict
from services.validator.wire import Encoder, identity_headers, record_key, rejection_key, trace_headers

VALIDATED = {"orders": topics.ORDERS_VALIDATED.name, "returns": topics.RETURNS_VALIDATED.name}
REJECTED = topics.RECORDS_REJECTED.name
JOB_EVENTS = topics.JOBS_EVENTS.name


class RecordSender(Protocol):
    """Takes records to topics; the chassis' producer is one."""

    async def send_by_key(self, topic: str, records: Iterable[ProducerRecord]) -> None:
        """Return when all are acknowledged; raises `Away`."""
        ...


class KafkaPublisher:
    """Publishes through one producer."""

    def __init__(self, producer: RecordSender, encoder: Encoder, dead_letters: DeadLetterSender) -> None:
        self._producer = producer
        self._encoder = encoder
        self._dead_letters = dead_letters

    async def publish(self, verdicts: Sequence[Verdict], *, at_us: int) -> None:
        """Return when all in-sync replicas have the verdicts and what they mean for jobs; raises `Away` otherwise.

        A job hears of its records last, so that a job at its end has all its records where they belong.
        """
        sends = [self._producer.send_by_key(topic, lot) for topic, lot in self._group_by_topic(verdicts, at_us).items()]
        letters = [
            DeadLetter(item.source, item.reason, item.detail) for item in verdicts if isinstance(item, Unprocessable)
        ]
        if letters:
            sends.append(self._dead_letters.send(letters))
        for outcome in await asyncio.gather(*sends, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
        await self._producer.send_by_key(JOB_EVENTS, self._job_events(verdicts, at_us))

    def _group_by_topic(self, verdicts: Sequence[Verdict], at_us: int) -> dict[str, list[ProducerRecord]]:
        """What goes to which topic, in order."""
        lots: dict[str, list[ProducerRecord]] = {}
        for item in verdicts:
            match item:
                case Accepted(submitted, record):
                    value, headers = self._encoder.to_validated(item)
                    made = ProducerRecord(submitted.key or record_key(record), value, tuple(headers))
                    lots.setdefault(VALIDATED[submitted.kind], []).append(made)
                case Rejected(submitted, record):
                    key, headers = rejection_key(submitted, record), identity_headers(submitted)
                    made = ProducerRecord(key, self._encoder.encode_rejected(item, at_us=at_us), tuple(headers))
                    lots.setdefault(REJECTED, []).append(made)
        return lots

    def _job_events(self, verdicts: Sequence[Verdict], at_us: int) -> Iterator[ProducerRecord]:
        """One event for each stretch of a job."""
        told = [(*found, item.source) for item in verdicts if (found := _job_verdict(item)) is not None]
        for header, stretch in groupby(told, key=lambda one: one[0]):
            same = list(stretch)
            # A request's records travel together: they have its trace in common.
            trace = trace_headers(same[0][2])
            for run in build_verdict_runs(header, (one for _, one, _ in same)):
                yield ProducerRecord(*self._encoder.encode_judged(header, run, at_us=at_us), trace)


def _job_verdict(verdict: Verdict) -> tuple[JobHeader, Told] | None:
    """What a verdict means for its job; None where it has none."""
    if isinstance(verdict, Unprocessable):
        return (
            None
            if verdict.header is None
            else (verdict.header, RecordFailed(verdict.job_index, None, [unprocessable()]))
        )
    record = verdict.record
    if record.job is None:
        return None
    if isinstance(record, RecordSummary):
        return record.job, RecordPassed(record.index, record)
    header, index = _header(record.site, record.job), record.job.index
    return header, RecordPassed(index, record) if isinstance(verdict, Accepted) else RecordFailed(
        index, record, verdict.faults
    )


def _header(site: int, job: JobRef) -> JobHeader:
    return JobHeader(site, job.job_id, job.total, job.created_at, job.mode, job.type)
