"""Reading records: any bytes give a record or a dead-letter reason, and nothing else."""

from typing import Any
from uuid import UUID

import pytest
from aiokafka.errors import CorruptRecordException
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.chassis.avro.wire_format import HEADER, LENGTH, prefix
from services.chassis.kafka.record_format import RecordHeaders, encode_headers
from services.sales.records import Order, RecordSummary, Return
from services.validator.adapters.record_reader import MAX_RECORD_BYTES, SubmittedRecordReader
from services.validator.domain.submitted_record import DeadLetterReason, SubmittedRecord
from tests.sales.samples import CURRENCIES
from tests.sales.strategies import ORDERS, RETURNS
from tests.validator.records import (
    NOW_US,
    SCHEMAS,
    a_job,
    a_return,
    a_submitted_record,
    an_order,
    as_bytes,
    job_headers,
    replace,
)

READER = SubmittedRecordReader(SCHEMAS)
GOOD = as_bytes(an_order(job=a_job()))
PRODUCTS = frozenset({line.product_id for record in (an_order(), a_return()) for line in record.line_items})
ID = SCHEMAS["order"].schema_id


def match(item: SubmittedRecord, reader: SubmittedRecordReader = READER) -> RecordSummary | None:
    return reader.match_fast(item, now_us=NOW_US, currencies=CURRENCIES, products_of=lambda _site: PRODUCTS)


def dead_letter_code(item: SubmittedRecord, reader: SubmittedRecordReader = READER) -> str:
    assert match(item, reader) is None
    reason = reader.decode(item)
    assert isinstance(reason, DeadLetterReason), reason
    return reason.code


@given(ORDERS)
def test_an_order_is_read_as_it_was_written(order: Order) -> None:
    assert READER.decode(a_submitted_record(order)) == order


@given(RETURNS)
def test_a_return_is_read_as_it_was_written(record: Return) -> None:
    assert READER.decode(a_submitted_record(record, kind="returns")) == record


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "unknown-framing"),
        (b"", "unknown-framing"),
        (b"\0\0\0\0", "unknown-framing"),
        (b"\x01" + GOOD[1:], "unknown-framing"),
        (b'{"id":"1"}', "unknown-framing"),
        (GOOD[LENGTH:], "unknown-framing"),
        (prefix(ID + 9999) + GOOD[LENGTH:], "unknown-schema"),
        (prefix(2**32 - 1) + GOOD[LENGTH:], "unknown-schema"),
        (prefix(SCHEMAS["return"].schema_id) + GOOD[LENGTH:], "unknown-schema"),
        (prefix(SCHEMAS["product"].schema_id) + GOOD[LENGTH:], "unknown-schema"),
        (as_bytes(a_return()), "unknown-schema"),
        (prefix(ID), "undecodable"),
        (GOOD[:-1], "undecodable"),
        (GOOD + b"\0", "undecodable"),
        (GOOD + GOOD, "undecodable"),
        (GOOD.replace(b"userA2", b"user\xff2"), "undecodable"),
        (b"\0" * (MAX_RECORD_BYTES + 1), "oversize"),
    ],
)
def test_what_is_no_record_has_a_reason(value: bytes | None, expected: str) -> None:
    assert dead_letter_code(a_submitted_record(value)) == expected


def test_every_beginning_of_a_record_is_undecodable() -> None:
    assert {dead_letter_code(a_submitted_record(GOOD[:end])) for end in range(LENGTH, len(GOOD))} == {"undecodable"}


def _varint(number: int) -> bytes:
    encoded = bytearray()
    number = number << 1 ^ number >> 63
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


@pytest.mark.parametrize("count", [2**31, 2**62, -(2**62), 10**9])
@pytest.mark.parametrize("where", ["segmentIds", "lineItems"])
def test_an_array_that_claims_to_be_huge_costs_nothing(count: int, where: str) -> None:
    plain = as_bytes(an_order(segment_ids=["44", "55"], segment_names=[], line_items=[]))
    sound = b"\x04\x0444\x0455\0" if where == "segmentIds" else b"\0"
    at = plain.index(sound) if where == "segmentIds" else len(plain) - 1
    size = b"" if count > 0 else _varint(1)
    hostile = plain[:at] + _varint(count) + size + plain[at + len(sound) :]
    assert dead_letter_code(a_submitted_record(hostile)) == "undecodable"


@pytest.mark.parametrize("length", [2**31, 2**62, -1, -(2**40)])
def test_a_text_that_claims_to_be_huge_costs_nothing(length: int) -> None:
    hostile = prefix(ID) + _varint(608) + b"\0" + _varint(0) + _varint(length) + b"x"
    assert dead_letter_code(a_submitted_record(hostile)) == "undecodable"


@given(st.binary(max_size=200))
def test_random_bytes_are_refused_or_read_and_nothing_else(body: bytes) -> None:
    for kind in ("orders", "returns"):
        for schema in SCHEMAS.values():
            READER.decode(a_submitted_record(schema.prefix + body, kind=kind))
        READER.decode(a_submitted_record(body, kind=kind))


@settings(max_examples=300)
@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255), st.integers(0, 3))
@example(4, 2, 0)
def test_one_changed_byte_is_refused_or_read_and_nothing_else(at: int, byte: int, cut: int) -> None:
    READER.decode(a_submitted_record(GOOD[:at] + bytes([byte]) + GOOD[at + 1 + cut :]))


@given(st.lists(st.tuples(st.sampled_from([HEADER, "site", "jobId"]), st.none() | st.binary(max_size=20)), max_size=3))
def test_headers_of_any_kind_do_no_harm(headers: Any) -> None:
    READER.decode(a_submitted_record(GOOD, headers=headers))


def test_headers_count_as_much_as_the_value() -> None:
    assert dead_letter_code(a_submitted_record(GOOD, headers=(("x", b"x" * MAX_RECORD_BYTES),))) == "oversize"


def test_a_record_of_the_largest_size_is_read_and_one_byte_more_is_not() -> None:
    room = MAX_RECORD_BYTES - len(GOOD)
    assert isinstance(READER.decode(a_submitted_record(GOOD, key=b"k" * room)), Order)
    assert dead_letter_code(a_submitted_record(GOOD, key=b"k" * (room + 1))) == "oversize"


def test_names_of_headers_count_as_well() -> None:
    """Compressed, millions of them fit into a message; uncompressed, they must fit into a batch."""
    assert (
        dead_letter_code(a_submitted_record(GOOD, headers=(("x" * 100, b""),) * (MAX_RECORD_BYTES // 100)))
        == "oversize"
    )
    assert dead_letter_code(a_submitted_record(GOOD, headers=(("", b""),) * (MAX_RECORD_BYTES // 2))) == "oversize"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (prefix(ID), None),
        (b"\x01" + SCHEMAS["order"].global_id.bytes, None),
        (prefix(ID + 9999), "unknown-schema"),
        (b"\x01" + UUID(int=1).bytes, "unknown-schema"),
        (b"\x02" + UUID(int=1).bytes, "unknown-framing"),
        (b"", "unknown-framing"),
    ],
)
def test_the_newer_framing_names_the_schema_in_a_header(content: bytes, expected: str | None) -> None:
    item = a_submitted_record(GOOD[LENGTH:], headers=((HEADER, content),))
    if expected is None:
        assert READER.decode(item) == an_order(job=a_job())
    else:
        assert dead_letter_code(item) == expected


@pytest.mark.parametrize(
    ("key", "headers"),
    [
        (b"k" * MAX_RECORD_BYTES, ()),
        (None, (("x", b"x" * MAX_RECORD_BYTES),)),
        (None, (("x" * 1000, b""),) * (MAX_RECORD_BYTES // 4000)),
        (None, (("", None),) * (MAX_RECORD_BYTES // 8)),
    ],
    ids=["key", "contents", "names", "headers without either"],
)
def test_what_is_too_large_to_be_read_is_not_seen_either(key: bytes | None, headers: Any) -> None:
    """Published again, it would fit into no batch, and block its partition."""
    assert dead_letter_code(a_submitted_record(GOOD, key=key, headers=headers)) == "oversize"


@pytest.mark.parametrize(("kind", "other"), [("orders", "returns"), ("returns", "orders")])
def test_the_usual_record_is_seen_on_its_own_topic_only(kind: str, other: str) -> None:
    record = an_order() if kind == "orders" else a_return()
    summary = match(a_submitted_record(record, kind=kind))
    assert summary is not None
    assert (summary.order_id, summary.return_id) == (record.order_id, record.return_id)
    assert dead_letter_code(a_submitted_record(record, kind=other)) == "unknown-schema"


@pytest.mark.parametrize("as_fetched", [False, True])
@pytest.mark.parametrize("name", [HEADER, "verdict", "dlq.reason", "dlq."])
def test_what_has_a_header_that_is_ours_to_write_is_read_with_care(name: str, as_fetched: bool) -> None:  # noqa: FBT001
    """One may mean that the value has another wire format; the others are dropped."""
    ingests, trace = job_headers(), ("traceparent", b"00-" + b"1" * 52)
    theirs = (*ingests, ("traceparent", None), ("theirs", b"verdict"))
    usual = (*ingests[:3], trace, ingests[3])
    for headers, is_matched in (
        ((), True),
        (ingests, True),
        (usual, True),
        ((*usual, (name, b"x")), False),
        ((*ingests[:3], (name, ingests[3][1])), False),
        (theirs, True),
        ((*theirs, (name, b"x")), False),
        (((name, None), *theirs), False),
    ):
        own = RecordHeaders(encode_headers(headers)) if as_fetched else headers
        summary = match(a_submitted_record(GOOD, headers=own))
        assert (summary is not None) == is_matched


def test_headers_that_hold_anothers_bytes_are_looked_at() -> None:
    """A content that looks like further headers is a content."""
    hidden = encode_headers([("verdict", b"accepted")])
    for headers in ([("site", hidden)], [*job_headers()[:3], ("index", b"1" + hidden)]):
        own = RecordHeaders(encode_headers(headers))
        assert match(a_submitted_record(GOOD, headers=own))
    cut = RecordHeaders(encode_headers(job_headers())[:-1])
    with pytest.raises(CorruptRecordException):
        match(a_submitted_record(GOOD, headers=cut))


def test_a_record_of_hundreds_of_thousands_of_lines_is_not_read_to_its_end() -> None:
    """It is within the bound of bytes; reading and judging it would hold up all others for a second."""
    lines = [replace(an_order().line_items[0], product_id="1")] * 10_001
    assert dead_letter_code(a_submitted_record(an_order(line_items=lines))) == "undecodable"
    assert isinstance(READER.decode(a_submitted_record(an_order(line_items=lines[:-1]))), Order)


def test_many_small_blocks_are_one_array() -> None:
    value = as_bytes(an_order(line_items=[]))
    line = as_bytes(an_order(line_items=an_order().line_items[:1]))[len(value) - 1 : -1]
    assert value.endswith(b"\0")
    body = value[:-1] + line * 10_001 + b"\0"
    assert dead_letter_code(a_submitted_record(body)) == "undecodable"
