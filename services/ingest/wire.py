"""Accepted jobs as keys and Avro values of Kafka records."""

from collections.abc import Iterator
from typing import Any

from services.avro.codec import Codec
from services.chassis.avro.schemas import Schemas
from services.ingest.domain.import_job import AcceptedJob
from services.jobs.events import Opened, event
from services.sales.keys import build_key
from services.sales.records import get_order_id
from services.sales.verdicts import build_rejection_runs
from services.sales.wire import job_event_codec, order_codec, return_codec


class Encoder:
    """Encodes everything that ingest publishes."""

    def __init__(self, schemas: Schemas) -> None:
        order, return_, job_event = schemas["order"], schemas["return"], schemas["job_event"]
        self._orders = order_codec(order.definition, prefix=order.prefix)
        self._returns = return_codec(return_.definition, prefix=return_.prefix)
        self._events = job_event_codec(job_event.definition, prefix=job_event.prefix)

    def encode_opened(self, job: AcceptedJob) -> Iterator[tuple[bytes, bytes]]:
        """Yield key and value of the job's opened event; of several where the rejected records do not fit into one."""
        header = job.header
        for rejected in build_rejection_runs(job.batch) or (None,):
            value = self._events.encode(event(header, Opened(rejected), at_us=header.created_at))
            yield build_key(header.site, header.job_id), value

    def encode_records(self, job: AcceptedJob) -> Iterator[tuple[int, bytes, bytes]]:
        """Yield index, key and value of each accepted record, in order."""
        header = job.header
        # A batch holds records of one kind, the job's.
        codec: Codec[Any] = self._orders if header.type == "orders" else self._returns
        encode = codec.encoder_of_job(header)
        for index, record in job.batch.accepted:
            yield index, build_key(header.site, record.channel, get_order_id(record)), encode(record, index)
