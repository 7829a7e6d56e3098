"""Records off the wire, verdicts onto it."""

import io
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Protocol

from fastavro import schemaless_writer

from services.avro.codec import Codec
from services.avro.schema import parse_schema
from services.avro.varints import AvroDecodeError
from services.chassis.avro.records import transcode
from services.chassis.avro.schemas import Schema, Schemas, SchemaVersion
from services.chassis.avro.wire_format import HEADER, LENGTH, SchemaReference, UnknownWireFormatError, parse_wire_format
from services.chassis.avro.wire_format import prefix as prefix_of
from services.chassis.kafka.dead_letters import PREFIX
from services.jobs.events import Fault, JobHeader, Judged, Run, event
from services.sales.fast_avro_check import AvroPattern
from services.sales.keys import build_key
from services.sales.records import RecordSummary, SalesRecord, get_order_id, get_return_id
from services.sales.wire import job_event_codec, order_codec, return_codec
from services.validator.domain.submitted_record import DeadLetterReason, Headers, SubmittedRecord
from services.validator.domain.verdict import Accepted, Rejected
from services.values.identifiers import MAX_ID_LENGTH

# The largest request makes no record of this size. It must fit into one batch with its headers when it is passed on.
MAX_RECORD_BYTES = 6 * 1024 * 1024
_HEADER_OVERHEAD = 8
# By far smaller than what is refused for its size.
FAST_PATH_MAX_BYTES = 64 * 1024
# What is ours to say of a validated record, whoever has said it before.
VERDICT = "verdict"
_ACCEPTED = (VERDICT, b"accepted")
_OURS = frozenset({VERDICT, HEADER})
# Headers that nearly every record has, which are for all.
_INGESTS = frozenset({"site", "jobId", "total", "index", "traceparent"})
# What tells whose record a refusal is about, besides its origin.
TRACE = "traceparent"
_IDENTITY = frozenset({"ce_id", "ce_source", "ce_type", TRACE})
# Topics of refusals take a megabyte, and a record may have six: beyond so many bytes its key and its headers are not
# repeated, nor is an id that is longer than any.
MAX_REPEATED_BYTES = 64 * 1024


class SchemaSource(Protocol):
    """Knows schemas that are not ours, or not yet."""

    async def definition(self, schema_id: int) -> Mapping[str, Any] | None:
        """The schema's document; None if there is no such schema. Raises `Away`."""
        ...


class SubmittedRecordReader:
    """Reads submitted records, whoever wrote them.

    In the current version, in older ones, and, where there is a directory of schemas, in ones newer than this process.
    """

    def __init__(self, schemas: Schemas, source: SchemaSource | None = None) -> None:
        order, returned = schemas["order"], schemas["return"]
        self._schemas = schemas
        self._directory = source
        self._learned: dict[int, SchemaVersion | None] = {}
        self._current: Mapping[str, tuple[Schema, Codec[Any]]] = {
            "orders": (order, order_codec(order.definition)),
            "returns": (returned, return_codec(returned.definition)),
        }
        self._usual = {
            "orders": (order.prefix, AvroPattern(order.definition)),
            "returns": (returned.prefix, AvroPattern(returned.definition)),
        }

    async def prefetch_schemas(self, submitted: Iterable[Sequence[SubmittedRecord]]) -> None:
        """Look up the schemas that these records name and that are not known yet; raises `Away` if that fails."""
        if self._directory is None:
            return
        named = {_named_by(item) for items in submitted for item in items} - self._learned.keys()
        for reference in named:
            # A global id is no use: what is passed on must carry an id that others can look up.
            if isinstance(reference, int) and self._schemas.by_id(reference) is None:
                definition = await self._directory.definition(reference)
                # What is not there now may be there with the next poll. Ids that nobody knows could be any number.
                if definition is not None:
                    self._learned[reference] = _readable(reference, definition)

    def match_fast(
        self, submitted: SubmittedRecord, *, now_us: int, currencies: AbstractSet[str]
    ) -> RecordSummary | None:
        """What is told of a record that is usual in every way, and surely keeps every rule; None tells nothing."""
        prefix, glance = self._usual[submitted.kind]
        value = submitted.value
        if value is None or not value.startswith(prefix):
            return None
        size = len(value) + len(submitted.key or b"") + _HEADER_OVERHEAD * len(submitted.headers)
        for name, content in submitted.headers:
            if name not in _INGESTS and (name in _OURS or name.startswith(PREFIX)):
                return None
            size += len(name) + len(content or b"")
        return (
            glance.match(value, LENGTH, now_us=now_us, currencies=currencies) if size <= FAST_PATH_MAX_BYTES else None
        )

    def decode(self, submitted: SubmittedRecord) -> SalesRecord | DeadLetterReason:
        """The record, or why the bytes are none."""
        schema, codec = self._current[submitted.kind]
        value = submitted.value or b""
        size = len(value) + len(submitted.key or b"")
        is_usual = value.startswith(schema.prefix)
        for name, content in submitted.headers:
            # Compression lets names be millions. A character has up to four bytes.
            size += 4 * len(name) + len(content or b"") + _HEADER_OVERHEAD
            if name == HEADER:
                is_usual = False
        if size > MAX_RECORD_BYTES:
            return DeadLetterReason("oversize", f"key, value and headers take more than {MAX_RECORD_BYTES} bytes")
        try:
            record: SalesRecord | DeadLetterReason = (
                codec.decode(value, start=LENGTH) if is_usual else self._unusual(submitted, schema, codec)
            )
        except AvroDecodeError as error:
            return DeadLetterReason("undecodable", error.reason)
        return record

    def _unusual(self, submitted: SubmittedRecord, schema: Schema, codec: Codec[Any]) -> SalesRecord | DeadLetterReason:
        """A record in another framing, or of another version. Raises `Undecodable`."""
        try:
            reference, start = parse_wire_format(submitted.value, submitted.headers)
        except UnknownWireFormatError as error:
            return DeadLetterReason("unknown-framing", str(error))
        value = submitted.value or b""
        version = self._version(reference)
        if version is None or version.definition["name"] != schema.definition["name"]:
            return DeadLetterReason("unknown-schema", f"schema {reference} is not one of this topic")
        if version.schema_id != schema.schema_id:
            try:
                value, start = transcode(value, start, version, schema), 0
            except ValueError as error:
                raise AvroDecodeError(str(error)) from error
        record: SalesRecord = codec.decode(value, start=start)
        return record

    def _version(self, reference: SchemaReference) -> SchemaVersion | None:
        version = self._schemas.by_id(reference)
        if version is None and isinstance(reference, int):
            return self._learned.get(reference)
        return version


def _named_by(submitted: SubmittedRecord) -> SchemaReference | None:
    try:
        reference, _ = parse_wire_format(submitted.value, submitted.headers)
    except UnknownWireFormatError:
        return None
    return reference


def _readable(schema_id: int, definition: Mapping[str, Any]) -> SchemaVersion | None:
    """The version, if it consists of what ours consist of: anything else could not become a record of ours."""
    try:
        parse_schema(definition)
    except ValueError:
        return None
    return SchemaVersion("", 0, schema_id, definition)


class Encoder:
    """Writes what the validator says of records and jobs."""

    def __init__(self, schemas: Schemas) -> None:
        job_event = schemas["job_event"]
        self._schemas = schemas
        self._events = job_event_codec(job_event.definition, prefix=job_event.prefix)
        self._rejected: Schema = schemas["record_rejected"]

    def encode_judged(self, header: JobHeader, run: Run, *, at_us: int) -> tuple[bytes, bytes]:
        """Key and value of what became of a stretch of a job."""
        return build_key(header.site, header.job_id), self._events.encode(event(header, Judged(run), at_us=at_us))

    def encode_rejected(self, verdict: Rejected, *, at_us: int) -> bytes:
        """The value for `records.rejected.v1`: identifiers and faults, nothing else of the record."""
        record, submitted = verdict.record, verdict.source
        document = {
            "site": record.site,
            "type": submitted.kind,
            "jobId": record.job.job_id if record.job else None,
            "index": record.job.index if record.job else None,
            "originTopic": submitted.topic,
            "originPartition": submitted.partition,
            "originOffset": submitted.offset,
            "channel": _told(record.channel),
            "orderId": _told(get_order_id(record)) or "",
            "returnId": _told(get_return_id(record)),
            "at": at_us,
            "faults": [_fault(fault) for fault in verdict.faults],
        }
        body = io.BytesIO()
        body.write(self._rejected.prefix)
        schemaless_writer(body, self._rejected.plain, document, strict=True)
        return body.getvalue()

    def to_validated(self, verdict: Accepted) -> tuple[bytes | None, Headers]:
        """Value and headers of a record that was accepted: the submitted bytes, in the framing that all readers know.

        Nothing is encoded again; of the headers only those go that are not for others.
        """
        submitted = verdict.source
        # What is seen at a glance has no such headers.
        if not isinstance(verdict.record, RecordSummary):
            for name, _ in submitted.headers:
                if name in _OURS or name.startswith(PREFIX):
                    return self._reframed(submitted)
        return submitted.value, (*submitted.headers, _ACCEPTED)

    def _reframed(self, submitted: SubmittedRecord) -> tuple[bytes | None, Headers]:
        value = submitted.value or b""
        reference, start = parse_wire_format(value, submitted.headers)
        if start != LENGTH:
            version = self._schemas.by_id(reference)
            known = reference if version is None else version.schema_id
            if isinstance(known, int):
                value = prefix_of(known) + value
        kept = [(name, content) for name, content in submitted.headers if name not in _OURS]
        return value, (*((name, content) for name, content in kept if not name.startswith(PREFIX)), _ACCEPTED)


def identity_headers(submitted: SubmittedRecord) -> Headers:
    """The headers that tell whose record it is."""
    found = tuple([header for header in submitted.headers if header[0] in _IDENTITY])
    size = sum(len(name) + len(content or b"") for name, content in found)
    return found if size <= MAX_REPEATED_BYTES else ()


def trace_headers(submitted: SubmittedRecord) -> tuple[tuple[str, bytes | None], ...]:
    """The header that tells of which request this is a consequence, if it has one."""
    return tuple([header for header in submitted.headers if header[0] == TRACE])[:1]


def record_key(record: SalesRecord | RecordSummary) -> bytes:
    """The key of a record on every topic."""
    return build_key(record.site, _told(record.channel), _told(get_order_id(record)))


def rejection_key(submitted: SubmittedRecord, record: SalesRecord) -> bytes:
    """The key of a refusal: that of the record, where it has one of bounded size."""
    key = submitted.key
    return key if key and len(key) <= MAX_REPEATED_BYTES else record_key(record)


def _told(text: str | None) -> str | None:
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
