"""Framing: five bytes before every Avro body, as Confluent's serializers write them."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.avro.wire_format import HEADER, LENGTH, UnknownWireFormatError, parse_wire_format, prefix, unframe


@pytest.mark.parametrize(
    ("schema_id", "head"),
    [
        (1, b"\0\0\0\0\x01"),
        (258, b"\0\0\0\x01\x02"),
        (2**31 - 1, b"\0\x7f\xff\xff\xff"),
        (2**32 - 1, b"\0\xff\xff\xff\xff"),
    ],
)
def test_the_prefix_is_a_zero_byte_and_a_big_endian_id(schema_id: int, head: bytes) -> None:
    assert prefix(schema_id) == head
    assert len(head) == LENGTH


@given(st.integers(0, 2**32 - 1), st.binary())
def test_what_is_framed_is_unframed(schema_id: int, body: bytes) -> None:
    read_id, read = unframe(prefix(schema_id) + body)
    assert (read_id, bytes(read)) == (schema_id, body)


def test_the_body_is_not_copied() -> None:
    value = prefix(1) + b"body"
    _, body = unframe(value)
    assert body.obj is value


@pytest.mark.parametrize("value", [None, b"", b"\0", b"\0\0\0\0", b"\x01\0\0\0\x01body", b"\xff\0\0\0\x01", b'{"a":1}'])
def test_anything_else_is_unknown_framing(value: bytes | None) -> None:
    with pytest.raises(UnknownWireFormatError):
        unframe(value)


@given(st.binary(max_size=16))
def test_random_bytes_are_read_or_refused_but_nothing_else(value: bytes) -> None:
    try:
        schema_id, body = unframe(value)
    except UnknownWireFormatError:
        return
    assert prefix(schema_id) + bytes(body) == value


GLOBAL_ID = UUID("0f16b2f3-8d8c-5a5e-9a53-1b7f6a2c1d0e")


@pytest.mark.parametrize(
    ("value", "headers", "expected"),
    [
        (prefix(7) + b"body", (), (7, LENGTH)),
        (prefix(7) + b"body", (("site", b"608"),), (7, LENGTH)),
        (b"body", ((HEADER, prefix(7)),), (7, 0)),
        (b"body", (("site", b"608"), (HEADER, b"\x01" + GLOBAL_ID.bytes)), (GLOBAL_ID, 0)),
        # The body of a record may begin like a prefix: the header goes first.
        (prefix(9) + b"body", ((HEADER, prefix(7)),), (7, 0)),
        (b"", ((HEADER, prefix(7)),), (7, 0)),
    ],
)
def test_the_schema_is_named_by_a_header_or_before_the_body(
    value: bytes, headers: tuple[tuple[str, bytes], ...], expected: tuple[int | UUID, int]
) -> None:
    assert parse_wire_format(value, headers) == expected


@pytest.mark.parametrize("content", [None, b"", b"\0", b"\x01\0\0\0\x07", b"\0" + GLOBAL_ID.bytes, prefix(7) + b"x"])
def test_a_header_that_names_nothing_is_unknown_framing(content: bytes | None) -> None:
    with pytest.raises(UnknownWireFormatError):
        parse_wire_format(prefix(7) + b"body", ((HEADER, content),))


def test_no_value_is_unknown_framing_whatever_the_header_says() -> None:
    with pytest.raises(UnknownWireFormatError):
        parse_wire_format(None, ((HEADER, prefix(7)),))
