"""A hand-written Avro encoder and decoder for one shape of order: all its fields are there, and ASCII.

The encoder writes what ingest writes, byte for byte (`tests/bench/test_baselines.py`).
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any

from msgspec import Struct

_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_OFFLINE, _ORDERS, _CREDIT = "\0", "\0", "\2"


class Line(Struct, gc=False, rename="camel"):
    product_id: str
    sku_id: str
    quantity: int
    # Encoded already, by `encode_amount`.
    unit_price: Any


class Order(Struct, gc=False, rename="camel"):
    id: str
    channel: str
    user_id: str
    date_time: str
    payment_method: str
    email_hash: str
    cc_hash: str
    store_id: str
    region_id: int
    segment_ids: list[str]
    currency: str
    coupon_code: str
    coupon_value: Any
    line_items: list[Line]


def encode_varint(number: int) -> str:
    """Encode a number, one character per byte: texts are joined faster than bytes."""
    rest = number << 1 ^ number >> 63
    out = []
    while rest > 127:
        out.append(chr(rest & 127 | 128))
        rest >>= 7
    out.append(chr(rest))
    return "".join(out)


_SMALL = [encode_varint(number) for number in range(4096)]
_LENGTHS = [text.encode("latin-1") for text in _SMALL]


def encode_text(value: str) -> str:
    return f"{_SMALL[len(value)]}{value}"


@lru_cache(maxsize=16_384)
def encode_amount(literal: str) -> str:
    """Encode a JSON number as `decimal(18,6)`."""
    unscaled = int(Decimal(literal).scaleb(6))
    size = unscaled.bit_length() + 8 >> 3
    return _SMALL[size] + unscaled.to_bytes(size, "big", signed=True).decode("latin-1")


def encode_head(prefix: bytes, site: int, job_id: str, created_at: int, total: int) -> tuple[str, str]:
    """Return what precedes and what follows the index in all orders of a job."""
    before = f"{prefix.decode('latin-1')}{encode_varint(site)}\2{encode_text(job_id)}"
    return before, f"{_SMALL[total]}{encode_varint(created_at)}{_OFFLINE}{_ORDERS}{encode_varint(created_at)}"


def encode(head: tuple[str, str], index: int, order: Order) -> bytes:
    """Encode an order of a job."""
    instant = datetime.fromisoformat(order.date_time)
    offset = instant.utcoffset() or timedelta()
    lengths = _SMALL
    segments = "".join([f"{lengths[len(each)]}{each}" for each in order.segment_ids])
    lines = "".join(
        [
            f"{lengths[len(line.product_id)]}{line.product_id}\2{lengths[len(line.sku_id)]}{line.sku_id}"
            f"{lengths[line.quantity]}{line.unit_price}"
            for line in order.line_items
        ]
    )
    return (
        f"{head[0]}{lengths[index]}{head[1]}{lengths[len(order.id)]}{order.id}"
        f"\2{lengths[len(order.channel)]}{order.channel}{lengths[len(order.user_id)]}{order.user_id}"
        f"{encode_varint((instant - _EPOCH) // _MICROSECOND)}{encode_varint(offset.seconds // 60)}{_OFFLINE}"
        f"\2{lengths[len(order.payment_method)]}{order.payment_method}\2{_CREDIT}"
        f"\2{lengths[len(order.email_hash)]}{order.email_hash}\2{lengths[len(order.cc_hash)]}{order.cc_hash}"
        f"\2{lengths[len(order.store_id)]}{order.store_id}\2{encode_varint(order.region_id)}"
        f"{lengths[len(order.segment_ids)]}{segments}\0\0{lengths[len(order.currency)]}{order.currency}"
        f"\2{lengths[len(order.coupon_code)]}{order.coupon_code}\2{order.coupon_value}"
        f"{lengths[len(order.line_items)]}{lines}\0"
    ).encode("latin-1")


def decode_ids(data: bytes) -> tuple[bytes, int, bytes, Sequence[bytes]]:
    """Return job id, index, order id and product ids of an order as ingest writes it, framing included."""
    at = _after_varint(data, 5)
    job, index, at = b"", 0, at + 1
    if data[at - 1]:
        size, at = _number(data, at)
        job, at = data[at : at + size], at + size
        index, at = _number(data, at)
        at = _after_varint(data, _after_varint(data, at)) + 2
    at = _after_varint(data, at)
    size, at = _number(data, at)
    order_id, at = data[at : at + size], at + size
    at = _after_option(data, at)
    at = _after_text(data, at)
    at = _after_varint(data, _after_varint(data, at)) + 1
    at = _after_option(data, at)
    at += 2 if data[at] else 1
    for _ in range(3):
        at = _after_option(data, at)
    at = _after_varint(data, at + 1) if data[at] else at + 1
    for _ in range(2):
        at = _after_texts(data, at)
    at = _after_text(data, at)
    for _ in range(2):
        at = _after_option(data, at)
    count, at = _number(data, at)
    products = []
    for _ in range(count):
        size, at = _number(data, at)
        products.append(data[at : at + size])
        at = _after_option(data, at + size)
        at = _after_text(data, _after_varint(data, at))
    return job, index, order_id, products


def _number(data: bytes, at: int) -> tuple[int, int]:
    byte = data[at]
    at += 1
    if byte < 128:
        return byte >> 1 ^ -(byte & 1), at
    rest, shift = byte & 127, 7
    while byte > 127:
        byte = data[at]
        at += 1
        rest |= (byte & 127) << shift
        shift += 7
    return rest >> 1 ^ -(rest & 1), at


def _after_varint(data: bytes, at: int) -> int:
    while data[at] > 127:
        at += 1
    return at + 1


def _after_text(data: bytes, at: int) -> int:
    byte = data[at]
    if byte < 128:
        return at + 1 + (byte >> 1)
    size, at = _number(data, at)
    return at + size


def _after_option(data: bytes, at: int) -> int:
    return _after_text(data, at + 1) if data[at] else at + 1


def _after_texts(data: bytes, at: int) -> int:
    count, at = _number(data, at)
    while count:
        for _ in range(count):
            at = _after_text(data, at)
        count, at = _number(data, at)
    return at


def encode_verdict(job: bytes, index: int, order_id: bytes, unknown: bytes | None) -> bytes:
    """Encode the minimal content of a verdict."""
    message = b"" if unknown is None else b"No product is found for product ID " + unknown
    return b"".join(
        (_LENGTHS[len(job)], job, _LENGTHS[index], _LENGTHS[len(order_id)], order_id, _LENGTHS[len(message)], message)
    )
