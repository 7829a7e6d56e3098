"""Confluent's framing of Avro values: a zero byte, the schema's id as four big-endian bytes, the Avro body.

Newer serializers can put the schema's id into a header instead and leave the body bare; that is read, never written.
"""

import struct
from collections.abc import Iterable
from uuid import UUID

_HEAD = struct.Struct(">bI")
LENGTH = _HEAD.size

# A zero byte and the schema's id, or a one byte and its global id (a UUID); then the value is the bare Avro body.
HEADER = "__value_schema_id"
GUID_MAGIC = 1
_GUID_LENGTH = 17

SchemaReference = int | UUID


class UnknownWireFormatError(ValueError):
    """The bytes carry no schema id that can be read."""


def prefix(schema_id: int) -> bytes:
    """The five bytes that stand before every body of this schema."""
    return _HEAD.pack(0, schema_id)


def unframe(value: bytes | None) -> tuple[int, memoryview]:
    """Schema id and body of a framed value; raises `UnknownFraming`."""
    if value is None or len(value) < LENGTH:
        raise UnknownWireFormatError("no room for a schema id")
    magic, schema_id = _HEAD.unpack_from(value)
    if magic != 0:
        raise UnknownWireFormatError("the first byte is not zero")
    return schema_id, memoryview(value)[LENGTH:]


def parse_wire_format(value: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> tuple[SchemaReference, int]:
    """The schema that a value was written with, and where in the value its body begins; raises `UnknownFraming`.

    A header that names the schema goes first, as it does for Confluent's own readers.
    """
    for name, content in headers:
        if name == HEADER:
            if value is None:
                raise UnknownWireFormatError("there is no value")
            return _named(content or b""), 0
    schema_id, _ = unframe(value)
    return schema_id, LENGTH


def _named(content: bytes) -> SchemaReference:
    if len(content) == LENGTH and content[0] == 0:
        return int(_HEAD.unpack(content)[1])
    if len(content) == _GUID_LENGTH and content[0] == GUID_MAGIC:
        return UUID(bytes=content[1:])
    raise UnknownWireFormatError(f"the header {HEADER} holds no schema id")
