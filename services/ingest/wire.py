"""Accepted jobs as keys and Avro values of Kafka records."""

from collections.abc import Iterator
from typing import Any

from services.chassis.avro.schemas import Schemas
from services.ingest.domain.import_job import AcceptedJob
from services.jobs.codec import JobEventCodec
from services.jobs.events import JobEvent, Opened
from services.sales.outcome_runs import build_rejection_runs
from services.sales.wire import RecordCodec, key_encoder, order_codec, return_codec


class Encoder:
    """Encodes everything that ingest publishes."""

    def __init__(self, schemas: Schemas) -> None:
        order, return_, job_event = schemas["order"], schemas["return"], schemas["job_event"]
        self._orders = order_codec(order.definition, prefix=order.prefix)
        self._returns = return_codec(return_.definition, prefix=return_.prefix)
        self._events = JobEventCodec(job_event.definition, prefix=job_event.prefix)

    def encode_opened(self, job: AcceptedJob) -> Iterator[tuple[bytes, bytes]]:
        """Yield key and value of the job's opened event; of several where the rejected records do not fit into one."""
        header = job.header
        for rejected in build_rejection_runs(job.batch) or (None,):
            value = self._events.encode(JobEvent(header, header.created_at, Opened(rejected)))
            # Neither part needs to be escaped.
            yield b"%d|%b" % (header.site, header.job_id.encode()), value

    def encode_records(self, job: AcceptedJob) -> Iterator[tuple[int, bytes, bytes]]:
        """Yield index, key and value of each accepted record, in order."""
        header = job.header
        # A batch holds records of one kind, the job's.
        codec: RecordCodec[Any] = self._orders if header.type == "orders" else self._returns
        encode, encode_key = codec.job_encoder(header, is_ascii=job.is_ascii), key_encoder(header.site)
        for index, record in job.batch.accepted:
            yield index, encode_key(record.channel, record.order_id), encode(record, index)
