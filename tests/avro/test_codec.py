"""The generated codec against the reference library, and against hostile bytes."""

import io
from decimal import Decimal
from typing import Any

import fastavro
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.avro.codec import AvroDecodeError, Codec
from services.avro.schema import parse_schema
from services.avro.varints import encode_timestamp, encode_varint
from services.jobs.events import Expired, Failure, Fault, Judged, Opened, OutcomeRun
from services.sales.records import Order, OrderLine
from services.sales.wire import order_codec
from tests.sales.samples import (
    FLAT_JOB_EVENTS,
    HEADER,
    ORDERS,
    PARSED,
    RETURNS,
    FlatJobEvent,
    a_place,
    a_return,
    an_order,
    by_fastavro,
    definition,
)
from tests.sales.strategies import EVENTS, LONGS
from tests.sales.strategies import ORDERS as ANY_ORDERS
from tests.sales.strategies import RETURNS as ANY_RETURNS

# As status reads them: equal lists of faults are read once.
REPEATED_FAULTS: Codec[FlatJobEvent] = Codec(
    definition("job_event"),
    {"JobEvent": FlatJobEvent, "Run": OutcomeRun}
    | {kind.__name__: kind for kind in (Opened, Judged, Expired, Failure, Fault)},
    repeated=("faults",),
)
ANY_RECORD = st.one_of(
    ANY_ORDERS.map(lambda record: ("order", ORDERS, record)),
    ANY_RETURNS.map(lambda record: ("return", RETURNS, record)),
    EVENTS.map(lambda record: ("job_event", FLAT_JOB_EVENTS, record)),
    EVENTS.map(lambda record: ("job_event", REPEATED_FAULTS, record)),
)
CODECS: list[Codec[Any]] = [ORDERS, RETURNS, FLAT_JOB_EVENTS, REPEATED_FAULTS]


@given(ANY_RECORD)
@settings(max_examples=300, deadline=None)
def test_bytes_equal_those_of_the_reference_and_come_back(case: tuple[str, Codec[Any], Any]) -> None:
    name, codec, record = case
    data = codec.encode(record)
    assert data == by_fastavro(name, record)
    assert codec.decode(data) == record
    assert codec.decode(b"frame" + data, start=5) == record


@given(ANY_RECORD, st.data())
@settings(max_examples=150, deadline=None)
def test_a_cut_or_lengthened_record_is_undecodable(case: tuple[str, Codec[Any], Any], data: st.DataObject) -> None:
    _, codec, record = case
    whole = codec.encode(record)
    cut = data.draw(st.integers(0, len(whole) - 1))
    for spoilt in (whole[:cut], whole + b"\0"):
        with pytest.raises(AvroDecodeError):
            codec.decode(spoilt)


@given(ANY_RECORD, st.data())
@settings(max_examples=250, deadline=None)
def test_a_spoilt_record_is_read_or_undecodable(case: tuple[str, Codec[Any], Any], data: st.DataObject) -> None:
    _, codec, record = case
    whole = bytearray(codec.encode(record))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    assert_read_or_undecodable(codec, bytes(whole))


@given(st.sampled_from(CODECS), st.binary(max_size=200))
@settings(max_examples=500, deadline=None)
def test_random_bytes_are_read_or_undecodable(codec: Codec[Any], data: bytes) -> None:
    assert_read_or_undecodable(codec, data)


def assert_read_or_undecodable(codec: Codec[Any], data: bytes) -> None:
    try:
        record = codec.decode(data)
    except AvroDecodeError as bad:
        assert bad.reason
    else:
        # What was read, though perhaps written in another way, is a record of the schema.
        assert codec.decode(codec.encode(record)) == record


@given(LONGS)
def test_every_long_is_written_as_the_reference_does(number: int) -> None:
    assert ORDERS.encode(an_order(site=number)) == by_fastavro("order", an_order(site=number))


@pytest.mark.parametrize("length", [0, 1, 63, 64, 127, 128, 4095, 4096, 8191, 8192, 100_000])
@pytest.mark.parametrize("letter", ["a", "é", "🛒"])
def test_texts_of_any_length(length: int, letter: str) -> None:
    order = an_order(id=letter * length, segment_ids=[letter] * length)
    assert ORDERS.encode(order) == by_fastavro("order", order)
    assert ORDERS.decode(ORDERS.encode(order)) == order


def test_as_many_lines_as_there_may_be_and_more() -> None:
    for count in (1, 500, 5000):
        order = an_order(line_items=[OrderLine("x", None, 1, Decimal("0.5"))] * count)
        assert ORDERS.encode(order) == by_fastavro("order", order)
        assert ORDERS.decode(ORDERS.encode(order)) == order


@pytest.mark.parametrize("index", [0, 5, 99])
def test_a_record_is_written_as_one_of_a_job(index: int) -> None:
    place = a_place(index=index)
    assert ORDERS.job_encoder(HEADER)(an_order(), index) == by_fastavro("order", an_order(job=place))
    assert RETURNS.job_encoder(HEADER)(a_return(), index) == by_fastavro("return", a_return(job=place))


@pytest.mark.parametrize("length", [0, 1, 63, 64, 4095, 4096, 5000])
def test_a_record_that_is_known_to_be_ascii_is_written_as_any_other(length: int) -> None:
    text = "~" * length
    order = an_order(id=text, channel=None if length == 1 else text, segment_ids=[text], segment_names=[])
    assert ORDERS.job_encoder(HEADER, is_ascii=True)(order, 5) == ORDERS.job_encoder(HEADER)(order, 5)


def test_the_prefix_goes_first() -> None:
    framed = order_codec(definition("order"), prefix=b"\0\0\0\0\xff")
    assert framed.encode(an_order()) == b"\0\0\0\0\xff" + ORDERS.encode(an_order())
    assert framed.job_encoder(HEADER)(an_order(), 3) == framed.encode(an_order(job=a_place()))
    long = an_order(id="x" * 5000, job=a_place())
    assert framed.job_encoder(HEADER, is_ascii=True)(long, 3) == framed.job_encoder(HEADER)(long, 3)
    assert framed.encode(long) == b"\0\0\0\0\xff" + ORDERS.encode(long) == framed.job_encoder(HEADER)(long, 3)


def test_blocks_with_their_size_are_read() -> None:
    """Other writers give an array's blocks with a negative count and a size."""
    order = an_order(segment_ids=["ab", "c"], segment_names=[])
    plain = b"\4\4ab\2c\0\0"
    data = ORDERS.encode(order)
    assert data.count(plain) == 1
    foreign = data.replace(plain, b"\3\x0a\4ab\2c\0\0")
    read: Any = fastavro.schemaless_reader(io.BytesIO(foreign), PARSED["order"], None)
    assert read["segmentIds"] == ["ab", "c"]
    assert ORDERS.decode(foreign) == order
    assert ORDERS.decode(data.replace(plain, b"\2\4ab\1\4\2c\0\0")) == order


@pytest.mark.parametrize(
    ("found", "hostile", "reason"),
    [
        (b"\x0e1723ABC", b"\x0d1723ABC", "a length is negative"),
        (b"\x0e1723ABC", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "a number is too long"),
        (b"\x0e1723ABC", b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x7f1723ABC", "a number is too large"),
        (b"\x0e1723ABC", b"\x0e1723AB\xff", "a text is not UTF-8"),
        (b"\x0e1723ABC", b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x011723ABC", "a text is not UTF-8"),
        (b"\x06USD", b"\x40USD", "a text is not UTF-8"),
    ],
)
def test_hostile_bytes_are_named(found: bytes, hostile: bytes, reason: str) -> None:
    data = ORDERS.encode(an_order())
    assert data.count(found) == 1
    with pytest.raises(AvroDecodeError) as undecodable:
        ORDERS.decode(data.replace(found, hostile))
    assert undecodable.value.reason == reason


def test_an_array_that_promises_billions_ends_at_once() -> None:
    order = ORDERS.encode(an_order(segment_ids=[], segment_names=[], line_items=[]))
    assert order.endswith(b"\0")
    with pytest.raises(AvroDecodeError):
        ORDERS.decode(order[:-1] + b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f")


@pytest.mark.parametrize("unscaled", [10**18, -(10**18)])
def test_an_amount_of_more_than_eighteen_digits_is_undecodable(unscaled: int) -> None:
    amount = unscaled.to_bytes(8, "big", signed=True)
    data = ORDERS.encode(an_order(coupon_value=Decimal(999_999_999_999)))
    right = (999_999_999_999 * 10**6).to_bytes(8, "big")
    assert data.count(right) == 1
    with pytest.raises(AvroDecodeError, match="too many digits"):
        ORDERS.decode(data.replace(right, amount))


@pytest.mark.parametrize(
    "changes",
    [
        {"site": 2**63},
        {"mode": "sideways"},
        {"coupon_value": Decimal("0.0000001")},
        {"coupon_value": Decimal(10**12)},
    ],
)
def test_what_the_schema_cannot_hold_is_no_record(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not a"):
        ORDERS.encode(an_order(**changes))


def test_a_struct_that_is_not_the_schemas_is_refused_at_start() -> None:
    class Smaller(msgspec.Struct):
        site: int

    with pytest.raises(ValueError, match="Order of the schema"):
        Codec(definition("order"), {"Order": Smaller, "OrderLine": OrderLine, "JobRef": type(a_place())})


EMPTY = {"name": "inner", "type": {"type": "record", "name": "Empty", "fields": []}}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "enum", "name": "E", "symbols": ["A"]},
        {"type": "record", "name": "R", "fields": [{"name": "x", "type": "double"}]},
        {"type": "record", "name": "R", "fields": [{"name": "x", "type": ["string", "null"]}]},
        {
            "type": "record",
            "name": "R",
            "fields": [
                {"name": "x", "type": {"type": "array", "items": {"type": "record", "name": "N", "fields": []}}}
            ],
        },
        {
            "type": "record",
            "name": "R",
            "fields": [
                {"name": "x", "type": {"type": "array", "items": {"type": "record", "name": "N", "fields": [EMPTY]}}}
            ],
        },
    ],
)
def test_a_schema_with_what_ours_do_not_use_is_refused_at_start(schema: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"not a schema of ours|not the schema|without width"):
        parse_schema(schema)


def test_a_decoded_order_is_an_order() -> None:
    assert isinstance(ORDERS.decode(ORDERS.encode(an_order(job=a_place()))), Order)


@pytest.mark.parametrize(
    "instant", [*(edge + step for edge in (0, 2**48, 2**55, -(2**48)) for step in (-1, 0, 1)), 1_764_500_000_123_456]
)
def test_an_instant_is_encoded_as_any_number(instant: int) -> None:
    assert encode_timestamp(instant) == encode_varint(instant)
