"""Accepted requests as Kafka has them: keys and Avro values."""

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
    """Writes what ingest publishes."""

    def __init__(self, schemas: Schemas) -> None:
        order, returned, job_event = schemas["order"], schemas["return"], schemas["job_event"]
        self._orders = order_codec(order.definition, prefix=order.prefix)
        self._returns = return_codec(returned.definition, prefix=returned.prefix)
        self._events = job_event_codec(job_event.definition, prefix=job_event.prefix)

    def encode_opened(self, accepted: AcceptedJob) -> Iterator[tuple[bytes, bytes]]:
        """Key and value of each event that opens the job: one, or more where the refused records need the room."""
        header = accepted.header
        for refused in build_rejection_runs(accepted.batch) or (None,):
            value = self._events.encode(event(header, Opened(refused), at_us=header.created_at))
            yield build_key(header.site, header.job_id), value

    def encode_records(self, accepted: AcceptedJob) -> Iterator[tuple[int, bytes, bytes]]:
        """Index, key and value of each accepted record, in order."""
        header = accepted.header
        # A batch holds one kind of record, the job's.
        codec: Codec[Any] = self._orders if header.type == "orders" else self._returns
        encode = codec.encoder_of_job(header)
        for index, record in accepted.batch.accepted:
            yield index, build_key(header.site, record.channel, get_order_id(record)), encode(record, index)
