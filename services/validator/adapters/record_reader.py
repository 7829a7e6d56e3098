"""Reads submitted records: matches the usual ones without decoding them, and decodes all others."""

import re
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from services.avro.codec import Codec
from services.avro.item_limit import check_items
from services.avro.schema import parse_schema
from services.avro.varints import AvroDecodeError
from services.chassis.avro.records import transcode
from services.chassis.avro.schemas import Schema, Schemas
from services.chassis.avro.wire_format import HEADER, LENGTH, SchemaReference, UnknownWireFormatError, parse_wire_format
from services.chassis.kafka.record_format import VARINTS, RecordHeaders
from services.sales.fast_avro_check import AvroPattern, ProductsOf
from services.sales.records import RecordSummary, SalesRecord
from services.sales.wire import order_codec, return_codec
from services.validator.adapters.schema_lookup import SchemaLookup, SchemaSource
from services.validator.domain.submitted_record import DeadLetterReason, SubmittedRecord
from services.validator.ports import RecordReader
from services.validator.wire import TRACE, is_reserved_header

# More than any import request can produce, and little enough for one batch, headers included, when it is passed on.
MAX_RECORD_BYTES = 6 * 1024 * 1024
# Far more lines than a valid record has. They may take 10 bytes each: reading 6 MB of them would take a second.
MAX_ITEMS = 10_000
# Far below MAX_RECORD_BYTES, so that the fast path can measure headers roughly.
FAST_PATH_MAX_BYTES = 64 * 1024
_HEADER_OVERHEAD = 8
# Nearly every record has these headers, with contents of these lengths, and none of them is reserved.
_INGEST_HEADERS: Mapping[str, Sequence[int]] = {
    "site": range(1, 11),
    "jobId": (36,),
    "total": range(1, 7),
    "traceparent": (55,),
    "index": range(1, 7),
}


def _headers_pattern(names: Sequence[str]) -> bytes:
    """A pattern of encoded headers with these names: one alternative for each length of a content."""
    pattern = re.escape(VARINTS[len(names)])
    for name in names:
        contents = (re.escape(VARINTS[length]) + b".{%d}" % length for length in _INGEST_HEADERS[name])
        pattern += re.escape(VARINTS[len(name)] + name.encode()) + b"(?:%b)" % b"|".join(contents)
    return pattern


_WITHOUT_TRACE = [name for name in _INGEST_HEADERS if name != TRACE]
_has_ingest_headers = re.compile(
    b"%b|%b" % (_headers_pattern(_WITHOUT_TRACE), _headers_pattern([*_INGEST_HEADERS])), re.DOTALL
).fullmatch


class SubmittedRecordReader(RecordReader):
    """Reads records of any producer, written with the current version of the schema or an older one.

    With a `source` of schemas it also reads records written with a version that is newer than this process.
    """

    def __init__(self, schemas: Schemas, source: SchemaSource | None = None) -> None:
        order, return_ = schemas["order"], schemas["return"]
        self._schemas = schemas
        self._lookup = None if source is None else SchemaLookup(source)
        self._codecs: Mapping[str, tuple[Schema, Codec[Any]]] = {
            "orders": (order, order_codec(order.definition, max_items=MAX_ITEMS)),
            "returns": (return_, return_codec(return_.definition, max_items=MAX_ITEMS)),
        }
        self._patterns = {
            "orders": (order.prefix, AvroPattern(order.definition)),
            "returns": (return_.prefix, AvroPattern(return_.definition)),
        }

    async def prefetch_schemas(self, batches: Iterable[Sequence[SubmittedRecord]]) -> list[int]:
        if self._lookup is None:
            return [len(batch) for batch in batches]
        unknown = [self._unknown_schemas(batch) for batch in batches]
        ids = sorted(item for _, by_position in unknown for item in by_position.items())
        pending = await self._lookup.find_unanswered(schema_id for _, schema_id in ids) if ids else ()
        return [
            next((position for position, schema_id in by_position.items() if schema_id in pending), size)
            for size, by_position in unknown
        ]

    def _unknown_schemas(self, batch: Sequence[SubmittedRecord]) -> tuple[int, dict[int, int]]:
        """Return the batch's size, and the unknown schema ids by the records' positions."""
        references = map(_schema_reference, batch)
        # A GUID is of no use: a validated record must carry an id that its readers can look up.
        return len(batch), {
            position: reference
            for position, reference in enumerate(references)
            if isinstance(reference, int) and self._version(reference) is None
        }

    def match_fast(
        self, submitted: SubmittedRecord, now_us: int, currencies: AbstractSet[str], products_of: ProductsOf
    ) -> RecordSummary | None:
        prefix, pattern = self._patterns[submitted.kind]
        value, headers = submitted.value, submitted.headers
        if value is None or not value.startswith(prefix):
            return None
        size = len(value) + len(submitted.key or b"")
        if type(headers) is not RecordHeaders or not _has_ingest_headers(headers.encoded):
            size += _HEADER_OVERHEAD * len(headers)
            for name, content in headers:
                if name not in _INGEST_HEADERS and is_reserved_header(name):
                    return None
                size += len(name) + len(content or b"")
        if size > FAST_PATH_MAX_BYTES:
            return None
        return pattern.match(value, LENGTH, now_us, currencies, products_of)

    def decode(self, submitted: SubmittedRecord) -> SalesRecord | DeadLetterReason:
        schema, codec = self._codecs[submitted.kind]
        value = submitted.value or b""
        size = len(value) + len(submitted.key or b"")
        is_current = value.startswith(schema.prefix)
        for name, content in submitted.headers:
            # Compressed, a record can have millions of header names. A character has up to four bytes.
            size += 4 * len(name) + len(content or b"") + _HEADER_OVERHEAD
            if name == HEADER:
                is_current = False
        if size > MAX_RECORD_BYTES:
            return DeadLetterReason("oversize", f"key, value and headers exceed {MAX_RECORD_BYTES} bytes")
        try:
            record: SalesRecord | DeadLetterReason = (
                codec.decode(value, start=LENGTH) if is_current else self._decode_other_version(submitted)
            )
        except AvroDecodeError as error:
            return DeadLetterReason("undecodable", error.reason)
        return record

    def _decode_other_version(self, submitted: SubmittedRecord) -> SalesRecord | DeadLetterReason:
        """Decode a record of another wire format or schema version; raises `AvroDecodeError`."""
        schema, codec = self._codecs[submitted.kind]
        try:
            reference, start = parse_wire_format(submitted.value, submitted.headers)
        except UnknownWireFormatError as error:
            return DeadLetterReason("unknown-framing", str(error))
        value = submitted.value or b""
        version = self._version(reference)
        if version is None or version.definition["name"] != schema.definition["name"]:
            return DeadLetterReason("unknown-schema", f"schema {reference} is not a version of this topic's schema")
        if version.schema_id != schema.schema_id:
            if len(value) > FAST_PATH_MAX_BYTES:
                check_items(parse_schema(version.definition), value, start, max_items=MAX_ITEMS)
            try:
                value, start = transcode(value, start, version, schema), 0
            except ValueError as error:
                raise AvroDecodeError(str(error)) from error
        record: SalesRecord = codec.decode(value, start=start)
        return record

    def _version(self, reference: SchemaReference) -> Schema | None:
        version = self._schemas.by_id(reference)
        if version is None and self._lookup is not None and isinstance(reference, int):
            return self._lookup.get(reference)
        return version


def _schema_reference(submitted: SubmittedRecord) -> SchemaReference | None:
    try:
        reference, _ = parse_wire_format(submitted.value, submitted.headers)
    except UnknownWireFormatError:
        return None
    return reference
