"""Verdicts as Kafka records: keys, headers and Avro values."""

from typing import Any

from services.chassis.avro.records import encode_record
from services.chassis.avro.schemas import Schema, Schemas
from services.chassis.avro.wire_format import HEADER, LENGTH, parse_wire_format
from services.chassis.avro.wire_format import prefix as wire_prefix
from services.chassis.kafka.dead_letters import PREFIX
from services.chassis.kafka.record_format import RecordHeaders, encode_header
from services.jobs.codec import JobEventCodec
from services.jobs.events import Fault, JobEvent, JobHeader, Judged, OutcomeRun
from services.sales.records import RecordSummary, SalesRecord
from services.sales.wire import build_key
from services.validator.domain.submitted_record import Headers, SubmittedRecord
from services.validator.domain.verdict import Accepted, Rejected
from services.values.identifiers import MAX_ID_LENGTH

VERDICT = "verdict"
_ACCEPTED = (VERDICT, b"accepted")
_ENCODED_ACCEPTED = encode_header(*_ACCEPTED)
# Set by the validator on validated records; incoming ones are dropped.
_RESERVED_HEADERS = frozenset({VERDICT, HEADER})
TRACE = "traceparent"
# Identify the record behind a rejection, in addition to its origin.
_IDENTITY_HEADERS = frozenset({"ce_id", "ce_source", "ce_type", TRACE})
# Rejections go to a topic with messages of at most a megabyte, and a record may have six: a rejection repeats neither
# a larger key, nor larger headers, nor an id that is longer than any valid one.
MAX_REPEATED_BYTES = 64 * 1024


class Encoder:
    """Encodes everything that the validator publishes, dead letters aside."""

    def __init__(self, schemas: Schemas) -> None:
        job_event = schemas["job_event"]
        self._schemas = schemas
        self._events = JobEventCodec(job_event.definition, prefix=job_event.prefix)
        self._rejected: Schema = schemas["record_rejected"]

    def encode_judged(self, header: JobHeader, run: OutcomeRun, *, at_us: int) -> tuple[bytes, bytes]:
        """Return key and value of the event about a run of judged records."""
        return build_key(header.site, header.job_id), self._events.encode(JobEvent(header, at_us, Judged(run)))

    def encode_rejected(self, verdict: Rejected, *, at_us: int) -> bytes:
        """Return the value for `records.rejected.v1`: the record's identifiers and faults, nothing else of it."""
        record, submitted = verdict.record, verdict.source
        document = {
            "site": record.site,
            "type": submitted.kind,
            "jobId": record.job.job_id if record.job else None,
            "index": record.job.index if record.job else None,
            "originTopic": submitted.topic,
            "originPartition": submitted.partition,
            "originOffset": submitted.offset,
            "channel": _bounded(record.channel),
            "orderId": _bounded(record.order_id) or "",
            "returnId": _bounded(record.return_id),
            "at": at_us,
            "faults": [_fault(fault) for fault in verdict.faults],
        }
        return encode_record(document, self._rejected)

    def to_validated(self, verdict: Accepted) -> tuple[bytes | None, Headers]:
        """Return value and headers of the validated record: the submitted bytes, without encoding them again.

        Reserved headers are dropped; a schema reference among them moves into the value's prefix.
        """
        submitted = verdict.source
        headers = submitted.headers
        # Records with reserved headers are never matched by the fast path.
        if not isinstance(verdict.record, RecordSummary):
            for name, _ in headers:
                if is_reserved_header(name):
                    return self._without_reserved_headers(submitted)
        if type(headers) is RecordHeaders:
            return submitted.value, headers.with_header(_ENCODED_ACCEPTED)
        return submitted.value, (*headers, _ACCEPTED)

    def _without_reserved_headers(self, submitted: SubmittedRecord) -> tuple[bytes | None, Headers]:
        value = submitted.value or b""
        reference, start = parse_wire_format(value, submitted.headers)
        if start != LENGTH:
            version = self._schemas.by_id(reference)
            schema_id = reference if version is None else version.schema_id
            if isinstance(schema_id, int):
                value = wire_prefix(schema_id) + value
        headers = (header for header in submitted.headers if not is_reserved_header(header[0]))
        return value, (*headers, _ACCEPTED)


def is_reserved_header(name: str) -> bool:
    """Whether only we may set this header: the verdict, the schema, and everything about dead letters."""
    return name in _RESERVED_HEADERS or name.startswith(PREFIX)


def identity_headers(submitted: SubmittedRecord) -> Headers:
    """Return the headers that identify the record, or none if they are too large to repeat."""
    headers = tuple([header for header in submitted.headers if header[0] in _IDENTITY_HEADERS])
    size = sum(len(name) + len(content or b"") for name, content in headers)
    return headers if size <= MAX_REPEATED_BYTES else ()


def trace_headers(submitted: SubmittedRecord) -> tuple[tuple[str, bytes | None], ...]:
    """Return the trace header of the request that submitted the record, if it has one."""
    return tuple([header for header in submitted.headers if header[0] == TRACE])[:1]


def record_key(record: SalesRecord | RecordSummary) -> bytes:
    """Return the key of the record on any topic."""
    return build_key(record.site, _bounded(record.channel), _bounded(record.order_id))


def rejection_key(submitted: SubmittedRecord, record: SalesRecord) -> bytes:
    """Return the submitted key, or the key built from the record if there is none of bounded size."""
    key = submitted.key
    return key if key and len(key) <= MAX_REPEATED_BYTES else record_key(record)


def _bounded(text: str | None) -> str | None:
    return text if text is None or len(text) <= MAX_ID_LENGTH else None


def _fault(fault: Fault) -> dict[str, Any]:
    return {
        "code": fault.code,
        "field": fault.field,
        "message": fault.message,
        "level": fault.level,
        "productId": fault.product_id,
        "retryable": fault.retryable,
    }
