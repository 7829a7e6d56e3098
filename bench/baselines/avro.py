"""A hand-written Avro encoder and decoder for one shape of order."""

from collections.abc import Sequence
from struct import Struct as Packed

from msgspec import Struct

_double = Packed("<d").pack


class Line(Struct, gc=False, rename="camel"):
    product_id: str
    sku_id: str
    quantity: int
    unit_price: float


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
    coupon_value: float
    line_items: list[Line]


def encode_varint(number: int) -> bytes:
    rest = number << 1 ^ number >> 63
    out = bytearray()
    while rest > 127:
        out.append(rest & 127 | 128)
        rest >>= 7
    out.append(rest)
    return bytes(out)


_SMALL = [encode_varint(number) for number in range(4096)]


def encode_text(value: str) -> bytes:
    raw = value.encode()
    return _SMALL[len(raw)] + raw


def encode(head: bytes, index: int, order: Order) -> bytes:
    """Encode an order; `head` is the common beginning of all orders of a request."""
    parts = [head, _SMALL[index]]
    parts += map(
        encode_text,
        (
            order.id,
            order.channel,
            order.user_id,
            order.date_time,
            order.payment_method,
            order.email_hash,
            order.cc_hash,
            order.store_id,
            order.currency,
            order.coupon_code,
        ),
    )
    parts += (encode_varint(order.region_id), _double(order.coupon_value), _SMALL[len(order.segment_ids)])
    parts += map(encode_text, order.segment_ids)
    parts += (b"\0", _SMALL[len(order.line_items)])
    for line in order.line_items:
        parts += (
            encode_text(line.product_id),
            encode_text(line.sku_id),
            encode_varint(line.quantity),
            _double(line.unit_price),
        )
    parts.append(b"\0")
    return b"".join(parts)


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
        (_SMALL[len(job)], job, _SMALL[index], _SMALL[len(order_id)], order_id, _SMALL[len(message)], message)
    )
