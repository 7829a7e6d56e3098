"""Framing: five bytes before every Avro body, as Confluent's serializers write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.framing import LENGTH, UnknownFraming, prefix, unframe


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
    with pytest.raises(UnknownFraming):
        unframe(value)


@given(st.binary(max_size=16))
def test_random_bytes_are_read_or_refused_but_nothing_else(value: bytes) -> None:
    try:
        schema_id, body = unframe(value)
    except UnknownFraming:
        return
    assert prefix(schema_id) + bytes(body) == value
