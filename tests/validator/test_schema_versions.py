"""Reading records of other versions of a schema, known here or looked up in a registry."""

import asyncio
import io
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_writer

from services.chassis.avro.schemas import Schemas
from services.chassis.avro.wire_format import prefix
from services.sales.records import Order
from services.validator.adapters.record_reader import SubmittedRecordReader
from services.validator.adapters.schema_lookup import MAX_CONCURRENT_LOOKUPS, WAIT_S
from services.validator.domain.submitted_record import DeadLetterReason
from tests.chassis.eventually import until
from tests.support.schema_versions import schemas_with_older_version, without_fields
from tests.validator.fakes import FakeSchemaSource
from tests.validator.records import SCHEMAS, a_submitted_record
from tests.validator.test_record_reader import GOOD, dead_letter_code


def _write(definition: Mapping[str, Any], record: Mapping[str, Any]) -> bytes:
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
