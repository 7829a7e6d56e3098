"""Publishes verdicts to Kafka: validated and rejected records and dead letters first, then the jobs' events."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Protocol

from services import topics
from services.chassis.kafka.dead_letters import DeadLetter, DeadLetterSender
from services.chassis.kafka.producer import ProducerRecord
from services.jobs.events import JobHeader, JobKey, JobRef
from services.sales.faults import unprocessable
from services.sales.outcome_runs import RecordFailed, RecordPassed, build_outcome_runs
from services.sales.records import RecordSummary
from services.validator.domain.verdict import Accepted, Rejected, Unprocessable, Verdict
from services.validator.ports import Publisher
from services.validator.wire import Encoder, identity_headers, record_key, rejection_key, trace_headers

VALIDATED = {"orders": topics.ORDERS_VALIDATED.name, "returns": topics.RETURNS_VALIDATED.name}
REJECTED = topics.RECORDS_REJECTED.name
JOB_EVENTS = topics.JOBS_EVENTS.name


class RecordSender(Protocol):
    """Sends records to topics; see the chassis' `Producer`."""

    async def send_by_key(self, topic: str, records: Iterable[ProducerRecord]) -> None:
        """Return when all are acknowledged; raises `UnavailableError`."""


class KafkaPublisher(Publisher):
    """Publishes through one producer."""

    def __init__(self, producer: RecordSender, encoder: Encoder, dead_letters: DeadLetterSender) -> None:
        self._producer = producer
        self._encoder = encoder
        self._dead_letters = dead_letters

    async def publish(self, verdicts: Sequence[Verdict], *, at_us: int) -> None:
        by_topic = self._group_by_topic(verdicts, at_us)
        sends = [self._producer.send_by_key(topic, records) for topic, records in by_topic.items()]
        dead_letters = [
            DeadLetter(verdict.source, verdict.reason, verdict.detail)
            for verdict in verdicts
            if isinstance(verdict, Unprocessable)
        ]
        if dead_letters:
            sends.append(self._dead_letters.send(dead_letters))
        for result in await asyncio.gather(*sends, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result
        # Last: when a job is complete, all its records are on their topics.
        await self._producer.send_by_key(JOB_EVENTS, self._job_events(verdicts, at_us))

    def _group_by_topic(self, verdicts: Sequence[Verdict], at_us: int) -> dict[str, list[ProducerRecord]]:
        by_topic: dict[str, list[ProducerRecord]] = defaultdict(list)
        # Nearly all verdicts are accepted: keep this short.
        for verdict in verdicts:
            if isinstance(verdict, Accepted):
                source = verdict.source
                value, headers = self._encoder.to_validated(verdict)
                validated = ProducerRecord(source.key or record_key(verdict.record), value, headers)
                by_topic[VALIDATED[source.kind]].append(validated)
            elif isinstance(verdict, Rejected):
                key, headers = rejection_key(verdict.source, verdict.record), identity_headers(verdict.source)
                value = self._encoder.encode_rejected(verdict, at_us=at_us)
                by_topic[REJECTED].append(ProducerRecord(key, value, headers))
        return by_topic

    def _job_events(self, verdicts: Sequence[Verdict], at_us: int) -> Iterator[ProducerRecord]:
        """Yield an event for each run of records of one job."""
        of_jobs = [(*found, verdict.source) for verdict in verdicts if (found := _job_outcome(verdict)) is not None]
        for header, group in groupby(of_jobs, key=lambda item: item[0]):
            items = list(group)
            # The records of one request have the same trace.
            headers = trace_headers(items[0][2])
            for run in build_outcome_runs(header, [outcome for _, outcome, _ in items]):
                yield ProducerRecord(*self._encoder.encode_judged(header, run, at_us=at_us), headers)


def _job_outcome(verdict: Verdict) -> tuple[JobHeader, RecordPassed | RecordFailed] | None:
    """Return the verdict's job, and the outcome of the record in it; None if the record has no job."""
    if isinstance(verdict, Unprocessable):
        header = verdict.header
        return None if header is None else (header, RecordFailed(verdict.job_index, None, [unprocessable()]))
    record = verdict.record
    if record.job is None:
        return None
    if isinstance(record, RecordSummary):
        return record.job, RecordPassed(record.index, record)
    header, index = _header(record.site, record.job), record.job.index
    if isinstance(verdict, Accepted):
        return header, RecordPassed(index, record)
    return header, RecordFailed(index, record, verdict.faults)


def _header(site: int, job: JobRef) -> JobHeader:
    return JobHeader(JobKey(site, job.job_id), job.total, job.created_at, job.mode, job.type)
