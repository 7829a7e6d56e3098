"""Publishes accepted jobs to Kafka: the job's opened event, and its records as one batch."""

from collections.abc import Callable, Sequence
from functools import lru_cache

from services import topics
from services.chassis.kafka.partitioner import partition_for_key
from services.chassis.kafka.producer import Producer, ProducerRecord
from services.chassis.kafka.record_format import VARINTS, RecordHeaders, encode_header, encode_headers, encode_record
from services.chassis.runtime.errors import UnavailableError
from services.ingest import metrics
from services.ingest.adapters.batcher import Acknowledgements, AwaitableAcknowledgements, RecordBatcher, RecordQueue
from services.ingest.domain.import_job import AcceptedJob
from services.ingest.ports import Publisher
from services.ingest.wire import Encoder
from services.sales.batch import MAX_RECORDS

TOPICS = {"orders": topics.ORDERS_SUBMITTED.name, "returns": topics.RETURNS_SUBMITTED.name}
JOB_EVENTS = topics.JOBS_EVENTS.name

_INDEX_HEADERS = [encode_header("index", b"%d" % index) for index in range(MAX_RECORDS)]
_TOTAL_HEADERS = [encode_header("total", b"%d" % total) for total in range(MAX_RECORDS + 1)]
_NO_HEADERS = RecordHeaders(encode_headers(()))


class KafkaPublisher(Publisher):
    """Publishes through one producer. Events, and records of jobs of one record, share batches with other jobs'."""

    def __init__(self, producer: Producer, encoder: Encoder) -> None:
        self._producer = producer
        self._encoder = encoder
        self._batcher = RecordBatcher(producer)
        self._records = {
            topic: self._batcher.queue(topic, on_batch=metrics.SHARED_BATCH_RECORDS.observe)
            for topic in TOPICS.values()
        }
        # By partition: status reads the events of a job in order.
        self._events: dict[int, RecordQueue] = {}

    async def publish(self, job: AcceptedJob) -> None:
        if job.batch.rejected or not job.batch.accepted:
            # Only these events carry the rejected records, so they must be durable before any record is.
            for event in self._build_events(job):
                acknowledgements = AwaitableAcknowledgements(1)
                await self._submit_event(event, acknowledgements)
                await acknowledgements.wait()
            if job.batch.accepted:
                acknowledgements = AwaitableAcknowledgements(1)
                await self._send_job(job, acknowledgements)
                await acknowledgements.wait()
            return
        # Every verdict repeats the job's header: status can create the job from whichever event arrives first.
        (event,) = self._build_events(job)
        acknowledgements = AwaitableAcknowledgements(2)
        await self._submit_event(event, acknowledgements)
        await self._send_job(job, acknowledgements)
        await acknowledgements.wait()

    @property
    def can_publish_nowait(self) -> bool:
        return self._producer.known_partitions(JOB_EVENTS) is not None

    def publish_nowait(self, job: AcceptedJob, on_settled: Callable[[Exception | None], None]) -> None:
        (event,) = self._build_events(job)
        record = self._build_record(job)
        partition = partition_for_key(event.key or b"", self._producer.known_partitions(JOB_EVENTS) or 1)
        acknowledgements = Acknowledgements(2, on_settled)
        self._event_queue(partition).submit(event, acknowledgements)
        self._records[TOPICS[job.header.type]].submit(record, acknowledgements)

    async def _submit_event(self, event: ProducerRecord, acknowledgements: Acknowledgements) -> None:
        partition = await self._producer.partition_for_key(JOB_EVENTS, event.key or b"")
        self._event_queue(partition).submit(event, acknowledgements)

    def _event_queue(self, partition: int) -> RecordQueue:
        queue = self._events.get(partition)
        if queue is None:
            queue = self._events[partition] = self._batcher.queue(JOB_EVENTS, partition)
        return queue

    async def _send_job(self, job: AcceptedJob, acknowledgements: Acknowledgements) -> None:
        topic = TOPICS[job.header.type]
        if len(job.batch.accepted) == 1:
            self._records[topic].submit(self._build_record(job), acknowledgements)
            return
        try:
            partition = await self._producer.partition_for_key(topic, job.header.job_id.encode())
            await self._producer.send_encoded(topic, partition, self._encode_records(job))
        except UnavailableError as error:
            # Its traceback would refer to this frame, and the cycle would keep the job.
            acknowledgements.settle(error.with_traceback(None))
        else:
            acknowledgements.settle()

    def _build_events(self, job: AcceptedJob) -> list[ProducerRecord]:
        headers = _NO_HEADERS if job.traceparent is None else RecordHeaders(VARINTS[1] + _trace_header(job))
        return [ProducerRecord(key, value, headers) for key, value in self._encoder.encode_opened(job)]

    def _build_record(self, job: AcceptedJob) -> ProducerRecord:
        """The only record of a job."""
        ((index, key, value),) = self._encoder.encode_records(job)
        return ProducerRecord(key, value, RecordHeaders(_headers_before_index(job) + _INDEX_HEADERS[index]))

    def _encode_records(self, job: AcceptedJob) -> Sequence[bytes]:
        """The records of a job, as in a batch."""
        before_index = _headers_before_index(job)
        return [
            encode_record(offset, key, value, before_index + _INDEX_HEADERS[index])
            for offset, (index, key, value) in enumerate(self._encoder.encode_records(job))
        ]


def _headers_before_index(job: AcceptedJob) -> bytes:
    """What all records of a job have in common: site, jobId, total, the trace if there is one."""
    header, trace = job.header, _trace_header(job)
    return b"".join(
        (
            VARINTS[5 if trace else 4],
            _site_header(header.site),
            encode_header("jobId", header.job_id.encode()),
            _TOTAL_HEADERS[header.total],
            trace,
        )
    )


@lru_cache(maxsize=1024)
def _site_header(site: int) -> bytes:
    return encode_header("site", b"%d" % site)


def _trace_header(job: AcceptedJob) -> bytes:
    return b"" if job.traceparent is None else encode_header("traceparent", job.traceparent.encode())
