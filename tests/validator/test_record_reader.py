"""Reading records: any bytes give a record or a dead-letter reason, and nothing else."""

import asyncio
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from fastavro import parse_schema, schemaless_writer
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.chassis.avro.schemas import Schemas
from services.chassis.avro.wire_format import HEADER, LENGTH, prefix
from services.chassis.runtime.errors import UnavailableError
from services.sales.records import Order, Return
from services.validator.adapters.record_reader import MAX_RECORD_BYTES, SubmittedRecordReader
from services.validator.adapters.schema_lookup import MAX_CONCURRENT_LOOKUPS, WAIT_S
from services.validator.domain.submitted_record import DeadLetterReason, SubmittedRecord
from tests.chassis.eventually import until
from tests.sales.samples import CURRENCIES
from tests.sales.strategies import ORDERS, RETURNS
from tests.support.schema_versions import schemas_with_older_version, without_fields
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
ID = SCHEMAS["order"].schema_id


def dead_letter_code(item: SubmittedRecord, reader: SubmittedRecordReader = READER) -> str:
    assert reader.match_fast(item, now_us=NOW_US, currencies=CURRENCIES) is None
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
    summary = READER.match_fast(a_submitted_record(record, kind=kind), now_us=NOW_US, currencies=CURRENCIES)
    assert summary is not None
    assert (summary.order_id, summary.return_id) == (record.order_id, record.return_id)
    assert dead_letter_code(a_submitted_record(record, kind=other)) == "unknown-schema"


@pytest.mark.parametrize("name", [HEADER, "verdict", "dlq.reason", "dlq."])
def test_what_has_a_header_that_is_ours_to_write_is_read_with_care(name: str) -> None:
    """One may mean that the value has another wire format; the others are dropped."""
    theirs = (*job_headers(), ("traceparent", None), ("theirs", b"verdict"))
    for headers, is_matched in ((theirs, True), ((*theirs, (name, b"x")), False), (((name, None), *theirs), False)):
        summary = READER.match_fast(a_submitted_record(GOOD, headers=headers), now_us=NOW_US, currencies=CURRENCIES)
        assert (summary is not None) == is_matched


# --- versions


def _write(definition: Mapping[str, Any], record: Mapping[str, Any]) -> bytes:
    import io  # noqa: PLC0415 - only here

    out = io.BytesIO()
    schemaless_writer(out, parse_schema(dict(definition)), record, strict_allow_default=True)
    return out.getvalue()


MINIMAL = {
    "site": 608,
    "acceptedAt": 1_749_999_999_000_000,
    "id": "1",
    "userId": "u",
    "dateTime": 1_749_999_999_000_000,
    "utcOffsetMinutes": 0,
    "mode": "offline",
    "currency": "USD",
    "lineItems": [{"productId": "4556", "quantity": 1, "unitPrice": b"\x0f\x42\x40"}],
}


def _with(definition: Mapping[str, Any], field: Mapping[str, Any]) -> dict[str, Any]:
    return {**definition, "fields": [*definition["fields"], field]}


def _plain(definition: Any) -> Any:
    return json.loads(json.dumps(definition).replace('"logicalType"', '"was"'))


@pytest.fixture
def two_versions(tmp_path: Path) -> Schemas:
    """Return our schemas with an older version of orders that has no segments."""
    return schemas_with_older_version(
        "order", without_fields(SCHEMAS["order"].definition, "segmentIds", "segmentNames"), tmp_path
    )


def test_an_older_producer_is_read_by_a_newer_validator(two_versions: Schemas) -> None:
    """F25."""
    body = _write(_plain(two_versions.versions["order"][1].definition), MINIMAL)
    read = SubmittedRecordReader(two_versions).decode(a_submitted_record(prefix(1) + body))
    assert isinstance(read, Order)
    assert read.id == "1"
    assert read.segment_ids == []
    assert read.line_items[0].unit_price == 1
    for end in range(len(body)):
        assert (
            dead_letter_code(a_submitted_record(prefix(1) + body[:end]), SubmittedRecordReader(two_versions))
            == "undecodable"
        )
    assert (
        dead_letter_code(a_submitted_record(prefix(1) + body + b"\0"), SubmittedRecordReader(two_versions))
        == "undecodable"
    )


class FakeSchemaSource:
    """Records which schemas were requested."""

    def __init__(self, *, is_unavailable: bool = False, **definitions: Any) -> None:
        self.definitions = {int(name.removeprefix("id")): value for name, value in definitions.items()}
        self.is_unavailable = is_unavailable
        self.requested: list[int] = []

    async def definition(self, schema_id: int) -> Mapping[str, Any] | None:
        self.requested.append(schema_id)
        if self.is_unavailable:
            raise UnavailableError("the schema registry")
        return self.definitions.get(schema_id)


COLOUR = {"name": "colour", "type": ["null", "string"], "default": None, "doc": "Colour."}


async def test_a_newer_producer_is_read_where_there_is_a_registry() -> None:
    """F25, reversed: the newer schema is looked up once."""
    newer = _with(SCHEMAS["order"].definition, COLOUR)
    source = FakeSchemaSource(id77=newer)
    reader = SubmittedRecordReader(SCHEMAS, source)
    body = _write(_plain(newer), {**MINIMAL, "colour": "red"})
    item = a_submitted_record(prefix(77) + body)
    assert dead_letter_code(item, reader) == "unknown-schema"
    await reader.prefetch_schemas([[item, a_submitted_record(GOOD)], [item]])
    await reader.prefetch_schemas([[item]])
    read = reader.decode(item)
    assert isinstance(read, Order)
    assert read.id == "1"
    assert source.requested == [77]


async def test_a_schema_that_was_not_there_yet_is_asked_for_again() -> None:
    """A schema that is missing now may be registered later."""
    source, newer = FakeSchemaSource(), _with(SCHEMAS["order"].definition, COLOUR)
    reader = SubmittedRecordReader(SCHEMAS, source)
    item = a_submitted_record(prefix(77) + _write(_plain(newer), {**MINIMAL, "colour": "red"}))
    await reader.prefetch_schemas([[item, item]])
    assert dead_letter_code(item, reader) == "unknown-schema"
    source.definitions[77] = newer
    await reader.prefetch_schemas([[item]])
    assert isinstance(reader.decode(item), Order)
    assert source.requested == [77, 77]


async def test_while_the_registry_is_away_records_of_unknown_schemas_wait_and_those_in_front_of_them_do_not() -> None:
    reader = SubmittedRecordReader(SCHEMAS, FakeSchemaSource(is_unavailable=True))
    good, unknown = a_submitted_record(GOOD), a_submitted_record(struct.pack(">bI", 0, 77))
    batches = [
        [unknown],
        [good, unknown, good, unknown],
        [good, a_submitted_record(b"poison"), a_submitted_record(None)],
    ]
    assert await reader.prefetch_schemas(batches) == [0, 1, 3]


async def test_a_registry_that_does_not_answer_is_waited_for_once_and_its_late_answer_counts() -> None:
    """It may hang for seconds; meanwhile nobody else's records wait."""
    source, answered = FakeSchemaSource(id77=_with(SCHEMAS["order"].definition, COLOUR)), asyncio.Event()

    class SlowSource:
        async def definition(self, schema_id: int) -> Mapping[str, Any] | None:
            await answered.wait()
            return await source.definition(schema_id)

    reader = SubmittedRecordReader(SCHEMAS, SlowSource())
    unknown, missing = a_submitted_record(struct.pack(">bI", 0, 77)), a_submitted_record(struct.pack(">bI", 0, 78))
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    for _ in range(20):
        assert await reader.prefetch_schemas([[unknown], [missing]]) == [0, 0]
    assert loop.time() - started_at < 10 * WAIT_S
    answered.set()
    await until(lambda: len(source.requested) == 2)
    assert await reader.prefetch_schemas([[unknown], [missing]]) == [1, 1]
    assert sorted(source.requested) == [77, 78]
    await reader.prefetch_schemas([[missing]])
    assert sorted(source.requested) == [77, 78, 78], "by now it may be registered"


async def test_a_thousand_unknown_schemas_are_looked_up_a_few_at_a_time() -> None:
    source, most = FakeSchemaSource(), 0

    class CountingSource:
        in_flight = 0

        async def definition(self, schema_id: int) -> Mapping[str, Any] | None:
            nonlocal most
            self.in_flight += 1
            most = max(most, self.in_flight)
            await asyncio.sleep(0)
            self.in_flight -= 1
            return await source.definition(schema_id)

    reader = SubmittedRecordReader(SCHEMAS, CountingSource())
    batch = [a_submitted_record(struct.pack(">bI", 0, schema_id)) for schema_id in range(1_000, 2_000)]
    judged = 0
    while judged < len(batch):
        (count,) = await reader.prefetch_schemas([batch[judged:]])
        assert count > 0
        judged += count
    assert most == MAX_CONCURRENT_LOOKUPS
    assert len(source.requested) == len(set(source.requested)) == 1_000


@pytest.mark.parametrize(
    "definition",
    [
        {"type": "record", "name": "Order", "fields": [{"name": "x", "type": {"type": "array", "items": "null"}}]},
        {"type": "record", "name": "Another", "fields": [{"name": "site", "type": "long"}]},
        {"type": "array", "items": "null"},
        {"type": "record", "name": "Order", "fields": [{"name": "site", "type": "string"}]},
    ],
)
async def test_what_another_registry_knows_need_not_be_of_use(definition: Any) -> None:
    reader = SubmittedRecordReader(SCHEMAS, FakeSchemaSource(id77=definition))
    item = a_submitted_record(prefix(77) + b"\x02\x02\x02\x02\x00")
    await reader.prefetch_schemas([[item]])
    assert dead_letter_code(item, reader) in {"unknown-schema", "undecodable"}


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


def test_lines_of_an_older_version_are_counted_before_they_are_read(two_versions: Schemas) -> None:
    """They are read by another library, which knows no limit."""
    reader, older = SubmittedRecordReader(two_versions), _plain(two_versions.versions["order"][1].definition)
    line = {"productId": "4556", "quantity": 1, "unitPrice": b"\x0f\x42\x40"}
    most, more = (
        a_submitted_record(prefix(1) + _write(older, MINIMAL | {"lineItems": [line] * count}))
        for count in (10_000, 10_001)
    )
    assert isinstance(reader.decode(most), Order)
    reason = reader.decode(more)
    assert isinstance(reason, DeadLetterReason)
    assert reason == DeadLetterReason("undecodable", "arrays have more than 10000 items")
