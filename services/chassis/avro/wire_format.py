"""Confluent's wire format of Avro values: a zero byte, the schema id as four big-endian bytes, the Avro body.

Newer serializers can put the schema id into a header and leave the value bare; that form is read, never written.
"""

import struct
from collections.abc import Iterable
from uuid import UUID

_HEAD = struct.Struct(">bI")
LENGTH = _HEAD.size

# Value: a zero byte and the schema id, or a one byte and the global id (a UUID). The record's value is the bare body.
HEADER = "__value_schema_id"
GUID_MAGIC = 1
_GUID_LENGTH = 17

SchemaReference = int | UUID


class UnknownWireFormatError(ValueError):
    """The value carries no readable schema id."""


def prefix(schema_id: int) -> bytes:
    """Return the five bytes before every body of this schema."""
    return _HEAD.pack(0, schema_id)


def unframe(value: bytes | None) -> tuple[int, memoryview]:
    """Return schema id and body; raises `UnknownWireFormatError`."""
    if value is None or len(value) < LENGTH:
        raise UnknownWireFormatError("no room for a schema id")
    magic, schema_id = _HEAD.unpack_from(value)
    if magic != 0:
        raise UnknownWireFormatError("the first byte is not zero")
    return schema_id, memoryview(value)[LENGTH:]


def parse_wire_format(value: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> tuple[SchemaReference, int]:
    """Return the schema that the value was written with, and where its body begins; raises `UnknownWireFormatError`.

    The header takes precedence, as in Confluent's own deserializers.
    """
    for name, content in headers:
        if name == HEADER:
            if value is None:
                raise UnknownWireFormatError("there is no value")
            return _parse_header(content or b""), 0
    schema_id, _ = unframe(value)
    return schema_id, LENGTH


def _parse_header(content: bytes) -> SchemaReference:
    if len(content) == LENGTH and content[0] == 0:
        return int(_HEAD.unpack(content)[1])
    if len(content) == _GUID_LENGTH and content[0] == GUID_MAGIC:
        return UUID(bytes=content[1:])
    raise UnknownWireFormatError(f"the header {HEADER} holds no schema id")
