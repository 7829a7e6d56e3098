"""Confluent's framing of Avro values: a zero byte, the schema's id as four big-endian bytes, the Avro body."""

import struct

_HEAD = struct.Struct(">bI")
LENGTH = _HEAD.size

# Current Confluent serializers can put the schema id into this header instead: a zero or one byte, then the id.
HEADER = "__value_schema_id"


class UnknownFraming(ValueError):  # noqa: N818 - reads as what it is
    """The bytes carry no schema id that can be read."""


def prefix(schema_id: int) -> bytes:
    """The five bytes that stand before every body of this schema."""
    return _HEAD.pack(0, schema_id)


def unframe(value: bytes | None) -> tuple[int, memoryview]:
    """Schema id and body of a framed value; raises `UnknownFraming`."""
    if value is None or len(value) < LENGTH:
        raise UnknownFraming("no room for a schema id")
    magic, schema_id = _HEAD.unpack_from(value)
    if magic != 0:
        raise UnknownFraming("the first byte is not zero")
    return schema_id, memoryview(value)[LENGTH:]
