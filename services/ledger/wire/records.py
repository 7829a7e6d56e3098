"""Validated orders and returns from Kafka."""

from collections.abc import Mapping
from typing import Any

from services.avro.codec import AvroDecodeError, Codec
from services.chassis.avro.records import transcode
from services.chassis.avro.schemas import Schema, Schemas
from services.chassis.avro.wire_format import LENGTH, UnknownWireFormatError, unframe
from services.sales.records import SalesRecord
from services.sales.wire import order_codec, return_codec
from services.topics import ORDERS_VALIDATED, RETURNS_VALIDATED


class MalformedRecordError(Exception):
    """A record that cannot be read; `reason` and `detail` are for its dead letter."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class RecordReader:
    """Reads the records of both topics, whichever version of the schema they were written with."""

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas
        order, return_ = schemas["order"], schemas["return"]
        self._codecs: Mapping[str, tuple[Schema, Codec[Any]]] = {
            ORDERS_VALIDATED.name: (order, order_codec(order.definition)),
            RETURNS_VALIDATED.name: (return_, return_codec(return_.definition)),
        }

    def read(self, topic: str, value: bytes | None) -> SalesRecord:
        """Return the record; raises `MalformedRecordError`."""
        schema, codec = self._codecs[topic]
        try:
            if value is not None and value.startswith(schema.prefix):
                record: SalesRecord = codec.decode(value, start=LENGTH)
            else:
                record = codec.decode(self._to_current_version(value, schema))
        except AvroDecodeError as error:
            raise MalformedRecordError("undecodable", error.reason) from error
        return record

    def _to_current_version(self, value: bytes | None, schema: Schema) -> bytes:
        try:
            schema_id, _ = unframe(value)
        except UnknownWireFormatError as error:
            raise MalformedRecordError("unknown-framing", str(error)) from error
        version = self._schemas.by_id(schema_id)
        if value is None or version is None or version.name != schema.name:
            raise MalformedRecordError(
                "unknown-schema", f"schema id {schema_id} is not a version of this topic's schema"
            )
        try:
            return transcode(value, LENGTH, version, schema)
        except ValueError as error:
            raise MalformedRecordError("undecodable", str(error)) from error
