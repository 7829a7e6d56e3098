"""The limit of items counts what the reference library would read, in every type that a schema may use."""

import io
from typing import Any

import fastavro
import pytest

from services.avro.item_limit import check_items
from services.avro.schema import parse_schema
from services.avro.varints import AvroDecodeError

LINE = {
    "type": "record",
    "name": "Line",
    "fields": [
        {"name": "text", "type": "string"},
        {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 6}},
        {"name": "flag", "type": "boolean"},
        {"name": "size", "type": "int"},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["A", "B"]}},
        {"name": "at", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}]},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
    ],
}
NOTE = {"type": "record", "name": "Note", "fields": [{"name": "text", "type": "string"}]}
ORDER: dict[str, Any] = {
    "type": "record",
    "name": "Order",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "lines", "type": {"type": "array", "items": [LINE, NOTE]}},
    ],
}
A_LINE = {"text": "x" * 200, "amount": b"12", "flag": True, "size": -70, "kind": "B", "at": 1 << 50, "tags": ["a", "b"]}
A_NOTE = ("Note", {"text": ""})
RECORD = {"id": 7, "lines": [("Line", A_LINE), A_NOTE, ("Line", A_LINE | {"at": None, "tags": []})]}
ITEMS = 5


def as_bytes(record: Any) -> bytes:
    out = io.BytesIO(b"head.")
    out.seek(0, io.SEEK_END)
    plain = fastavro.parse_schema(ORDER)
    fastavro.schemaless_writer(out, plain, record)
    return out.getvalue()


def test_items_of_all_arrays_count_together() -> None:
    record = parse_schema(ORDER)
    check_items(record, as_bytes(RECORD), 5, max_items=ITEMS)
    with pytest.raises(AvroDecodeError, match="more than 4 items"):
        check_items(record, as_bytes(RECORD), 5, max_items=ITEMS - 1)


def test_a_claim_of_many_items_is_enough() -> None:
    with pytest.raises(AvroDecodeError, match="more than 1000 items"):
        check_items(parse_schema(ORDER), b"\x0e" + b"\xfe\xff\xff\xff\x0f", 0, max_items=1_000)


def test_what_ends_too_early_is_told() -> None:
    value = as_bytes(RECORD)
    for end in range(5, len(value)):
        with pytest.raises(AvroDecodeError, match="ends too early"):
            check_items(parse_schema(ORDER), value[:end], 5, max_items=ITEMS)
