"""Records off the wire, verdicts onto it."""

import io
from collections.abc import Mapping
from typing import Any

from fastavro import schemaless_writer

from services.chassis.framing import LENGTH, UnknownFraming, unframe
from services.chassis.registry import Schema, Schemas
from services.sales.codec import Codec
from services.sales.facts import Judged, Run, event
from services.sales.faults import Fault
from services.sales.keys import key_of
from services.sales.records import JobHeader, Record, order_id_of, return_id_of
from services.sales.undecodable import Undecodable
from services.sales.wire import job_event_codec, order_codec, return_codec
from services.validator.domain.submitted import Submitted, Unreadable
from services.validator.domain.verdict import Rejected


class WireReader:
    """Reads submitted records, whoever wrote them."""

    def __init__(self, schemas: Schemas) -> None:
        order, returned = schemas["order"], schemas["return"]
        self._codecs: Mapping[str, tuple[int, Codec[Any]]] = {
            "orders": (order.schema_id, order_codec(order.definition)),
            "returns": (returned.schema_id, return_codec(returned.definition)),
        }

    def read(self, submitted: Submitted) -> Record | Unreadable:
        """The record, or why the bytes are none."""
        expected, codec = self._codecs[submitted.kind]
        value = submitted.value
        try:
            schema_id, _ = unframe(value)
        except UnknownFraming as error:
            return Unreadable("unknown-framing", str(error))
        if schema_id != expected:
            return Unreadable("unknown-schema", f"schema id {schema_id} is not of this topic")
        try:
            record: Record = codec.decode(value or b"", start=LENGTH)
        except Undecodable as error:
            return Unreadable("undecodable", error.reason)
        return record


class Encoder:
    """Writes what the validator says of records and jobs."""

    def __init__(self, schemas: Schemas) -> None:
        job_event = schemas["job_event"]
        self._events = job_event_codec(job_event.definition, prefix=job_event.prefix)
        self._rejected: Schema = schemas["record_rejected"]

    def judged(self, header: JobHeader, run: Run, *, at_us: int) -> tuple[bytes, bytes]:
        """Key and value of what became of a stretch of a job."""
        return key_of(header.site, header.job_id), self._events.encode(event(header, Judged(run), at_us=at_us))

    def rejected(self, verdict: Rejected, *, at_us: int) -> bytes:
        """The value for `records.rejected.v1`: identifiers and faults, nothing else of the record."""
        record, submitted = verdict.record, verdict.submitted
        document = {
            "site": record.site,
            "type": submitted.kind,
            "jobId": record.job.job_id if record.job else None,
            "index": record.job.index if record.job else None,
            "originTopic": submitted.topic,
            "originPartition": submitted.partition,
            "originOffset": submitted.offset,
            "channel": record.channel,
            "orderId": order_id_of(record),
            "returnId": return_id_of(record),
            "at": at_us,
            "faults": [_fault(fault) for fault in verdict.faults],
        }
        body = io.BytesIO()
        body.write(self._rejected.prefix)
        schemaless_writer(body, self._rejected.plain, document, strict=True)
        return body.getvalue()


def record_key(record: Record) -> bytes:
    """The key of a record on every topic."""
    return key_of(record.site, record.channel, order_id_of(record))


def _fault(fault: Fault) -> dict[str, Any]:
    return {
        "code": fault.code,
        "field": fault.field,
        "message": fault.message,
        "level": fault.level,
        "productId": fault.product_id,
        "retryable": fault.retryable,
    }
