"""Accepted requests to Kafka: the records as one batch, the job's opening beside it."""

import asyncio
from collections.abc import Sequence
from functools import partial
from itertools import count

from services import topics
from services.chassis.kafka.producer import Headers, Producer, ProducerRecord, to_headers
from services.ingest.adapters.batcher import RecordBatcher
from services.ingest.domain.import_job import AcceptedJob
from services.ingest.wire import Encoder
from services.sales.batch import MAX_RECORDS

TOPICS = {"orders": topics.ORDERS_SUBMITTED.name, "returns": topics.RETURNS_SUBMITTED.name}
JOB_EVENTS = topics.JOBS_EVENTS.name

_INDEXES = [("index", b"%d" % index) for index in range(MAX_RECORDS)]


class KafkaPublisher:
    """Publishes through one producer."""

    def __init__(self, producer: Producer, encoder: Encoder) -> None:
        self._producer = producer
        self._encoder = encoder
        self._turn = count()
        self._convoys = {topic: RecordBatcher(partial(self._carry, topic)) for topic in TOPICS.values()}

    async def publish(self, job: AcceptedJob) -> None:
        """Return when all in-sync replicas have the job and every accepted record; raises `Away` otherwise."""
        opening = self._open(job)
        if job.batch.rejected or not job.batch.accepted:
            # Nobody else knows of the refused records: the job must have them before anything else happens to it.
            await opening
            if job.batch.accepted:
                await self._send_records(job)
            return
        # Every verdict repeats the job's header, so status can build the job from whichever comes first.
        outcomes = await asyncio.gather(opening, self._send_records(job), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _send_records(self, accepted: AcceptedJob) -> None:
        topic = TOPICS[accepted.header.type]
        records = self._records(accepted)
        if len(records) == 1:
            await self._convoys[topic].submit(records[0])
            return
        partition = await self._producer.partition_for_key(topic, accepted.header.job_id.encode())
        await self._producer.send_batch(topic, partition, records)

    async def _carry(self, topic: str, records: Sequence[ProducerRecord]) -> None:
        """Single records go wherever it is their turn: by their jobs they would not meet in a batch."""
        partition = next(self._turn) % await self._producer.partitions(topic)
        await self._producer.send_batch(topic, partition, records)

    async def _open(self, accepted: AcceptedJob) -> None:
        headers = to_headers({"traceparent": accepted.traceparent})
        for key, value in self._encoder.encode_opened(accepted):
            await self._producer.send(JOB_EVENTS, ProducerRecord(key, value, headers))

    def _records(self, accepted: AcceptedJob) -> Sequence[ProducerRecord]:
        header = accepted.header
        common: Headers = to_headers(
            {
                "site": str(header.site),
                "jobId": header.job_id,
                "total": str(header.total),
                "traceparent": accepted.traceparent,
            }
        )
        return [
            ProducerRecord(key, value, (*common, _INDEXES[index]))
            for index, key, value in self._encoder.encode_records(accepted)
        ]
