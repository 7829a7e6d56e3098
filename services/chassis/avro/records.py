"""Records of a schema as Kafka carries them, in whichever of its versions they were written.

While releases change, and for as long as a topic keeps what was written before, there are several at once.
"""

import io
from typing import Any

from fastavro import schemaless_reader, schemaless_writer

from services.chassis.avro import wire_format
from services.chassis.avro.schemas import Schema, Schemas, SchemaVersion


class AvroRecordReader:
    """Reads the values of one schema, each as the current version has it."""

    def __init__(self, schemas: Schemas, name: str) -> None:
        self._schemas = schemas
        self._schema = schemas[name]

    def read(self, value: bytes | None) -> dict[str, Any]:
        """The record; times are integers, decimals bytes. Raises `ValueError` for what is none of this schema."""
        schema_id, _ = wire_format.unframe(value)
        version = self._schemas.by_id(schema_id)
        if value is None or version is None or version.name != self._schema.name:
            raise ValueError("another schema")
        record: dict[str, Any] = _read(value, wire_format.LENGTH, version, self._schema)
        return record


def transcode(value: bytes, start: int, version: SchemaVersion, schema: Schema) -> bytes:
    """The body that begins at `start`, written with `version`, as the current version writes it.

    Raises `ValueError` for bytes that are no such record.
    """
    out = io.BytesIO()
    # Of unions it is told which record there is: two of them may have the same fields.
    read = _read(value, start, version, schema, return_record_name=True)
    try:
        schemaless_writer(out, schema.plain, read, strict=True)
    except Exception as error:
        # fastavro raises whatever it happens to run into.
        raise ValueError("is no record of its schema") from error
    return out.getvalue()


def _read(value: bytes, start: int, version: SchemaVersion, schema: Schema, **options: Any) -> Any:
    body = io.BytesIO(value)
    body.seek(start)
    current = None if version.schema_id == schema.schema_id else schema.plain
    try:
        read = schemaless_reader(body, version.plain, current, **options)
    except Exception as error:
        # fastavro raises whatever broken bytes happen to run into.
        raise ValueError("is no record of its schema") from error
    if body.tell() != len(value):
        raise ValueError("bytes are left over")
    return read
