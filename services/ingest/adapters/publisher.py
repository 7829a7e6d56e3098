"""Publishes accepted jobs to Kafka: the job's opened event, and its records as one batch."""

import asyncio
from collections.abc import Sequence
from functools import partial
from itertools import count

from services import topics
from services.chassis.kafka.producer import Producer, ProducerRecord, to_headers
from services.ingest.adapters.batcher import RecordBatcher
from services.ingest.domain.import_job import AcceptedJob
from services.ingest.wire import Encoder
from services.sales.batch import MAX_RECORDS

TOPICS = {"orders": topics.ORDERS_SUBMITTED.name, "returns": topics.RETURNS_SUBMITTED.name}
JOB_EVENTS = topics.JOBS_EVENTS.name

_INDEX_HEADERS = [("index", b"%d" % index) for index in range(MAX_RECORDS)]


class KafkaPublisher:
    """Publishes through one producer."""

    def __init__(self, producer: Producer, encoder: Encoder) -> None:
        self._producer = producer
        self._encoder = encoder
        self._round_robin = count()
        self._batchers = {topic: RecordBatcher(partial(self._send_shared, topic)) for topic in TOPICS.values()}

    async def publish(self, job: AcceptedJob) -> None:
        """Return when all in-sync replicas have the job and its accepted records; raises `UnavailableError`."""
        if job.batch.rejected or not job.batch.accepted:
            # Only this event carries the rejected records, so it must be durable before any record is.
            await self._publish_opened(job)
            if job.batch.accepted:
                await self._publish_records(job)
            return
        # Every verdict repeats the job's header: status can create the job from whichever event arrives first.
        for result in await asyncio.gather(
            self._publish_opened(job), self._publish_records(job), return_exceptions=True
        ):
            if isinstance(result, BaseException):
                raise result

    async def _publish_opened(self, job: AcceptedJob) -> None:
        headers = to_headers({"traceparent": job.traceparent})
        for key, value in self._encoder.encode_opened(job):
            await self._producer.send(JOB_EVENTS, ProducerRecord(key, value, headers))

    async def _publish_records(self, job: AcceptedJob) -> None:
        topic = TOPICS[job.header.type]
        records = self._build_records(job)
        if len(records) == 1:
            await self._batchers[topic].submit(records[0])
            return
        partition = await self._producer.partition_for_key(topic, job.header.job_id.encode())
        await self._producer.send_batch(topic, partition, records)

    async def _send_shared(self, topic: str, records: Sequence[ProducerRecord]) -> None:
        # Partitioned by job, single records would hardly ever share a batch: batches take the partitions in turn.
        partition = next(self._round_robin) % await self._producer.partitions(topic)
        await self._producer.send_batch(topic, partition, records)

    def _build_records(self, job: AcceptedJob) -> Sequence[ProducerRecord]:
        header = job.header
        common = to_headers(
            {
                "site": str(header.site),
                "jobId": header.job_id,
                "total": str(header.total),
                "traceparent": job.traceparent,
            }
        )
        return [
            ProducerRecord(key, value, (*common, _INDEX_HEADERS[index]))
            for index, key, value in self._encoder.encode_records(job)
        ]
