"""Writes records, and reads and transcodes those of any version of a schema.

During a release, and for as long as a topic retains older records, several versions are in use at once.
"""

import io
from collections.abc import Mapping
from typing import Any

from fastavro import schemaless_reader, schemaless_writer

from services.chassis.avro import wire_format
from services.chassis.avro.schemas import Schema, Schemas


class AvroRecordReader:
    """Reads the values of one schema, each as a record of the current version."""

    def __init__(self, schemas: Schemas, name: str) -> None:
        self._schemas = schemas
        self._schema = schemas[name]

    def read(self, value: bytes | None) -> dict[str, Any]:
        """Return the record; times are integers, decimals are bytes. Raises `ValueError` for any other value."""
        schema_id, _ = wire_format.unframe(value)
        version = self._schemas.by_id(schema_id)
        if value is None or version is None or version.name != self._schema.name:
            raise ValueError("another schema")
        record: dict[str, Any] = _read(value, wire_format.LENGTH, version, self._schema)
        return record


def encode_record(record: Mapping[str, Any], schema: Schema) -> bytes:
    """Return the value of a Kafka record; times must be integers and decimals bytes."""
    out = io.BytesIO(schema.prefix)
    out.seek(0, io.SEEK_END)
    schemaless_writer(out, schema.plain, record, strict=True)
    return out.getvalue()


def transcode(value: bytes, start: int, version: Schema, schema: Schema) -> bytes:
    """Return the body that begins at `start`, written with `version`, as the current version writes it.

    Raises `ValueError` for an invalid body.
    """
    out = io.BytesIO()
    # The name selects the branch of a union: two records may have the same fields.
    record = _read(value, start, version, schema, return_record_name=True)
    try:
        schemaless_writer(out, schema.plain, record, strict=True)
    except Exception as error:
        # fastavro raises all kinds of exceptions for invalid data.
        raise ValueError("not a record of its schema") from error
    return out.getvalue()


def _read(value: bytes, start: int, version: Schema, schema: Schema, **options: Any) -> Any:
    body = io.BytesIO(value)
    body.seek(start)
    current = None if version.schema_id == schema.schema_id else schema.plain
    try:
        record = schemaless_reader(body, version.plain, current, **options)
    except Exception as error:
        # fastavro raises all kinds of exceptions for invalid bytes.
        raise ValueError("not a record of its schema") from error
    if body.tell() != len(value):
        raise ValueError("bytes are left over")
    return record
