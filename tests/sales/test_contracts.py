"""The table of fields agrees with the OpenAPI document, the Avro schemas, the records and the cases."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from services.avro import schema as avro
from services.sales.field_types import (
    Amount,
    FieldType,
    Identifier,
    Integer64,
    Job,
    Quantity,
    Segments,
    Text,
)
from services.sales.fields import ORDER, ORDER_LINE, RETURN, RETURN_LINE, TABLES, Field, FieldTable, Lines
from tests.sales.samples import HERE, SCHEMAS, cases, definition

ROOT = SCHEMAS.parent
OPENAPI: dict[str, Any] = yaml.safe_load((SCHEMAS / "openapi" / "omnichannel.yaml").read_text(encoding="utf-8"))
TABLE_NAMES = [table.record_type.__name__ for table in TABLES]
# A field of orders alone, optional, without a rule of its own: one like the next that is added.
EXAMPLE = "couponCode"


def schema_fields(table: FieldTable) -> list[dict[str, Any]]:
    """The fields of a record in the Avro schema, as JSON."""
    name = "order" if table in (ORDER, ORDER_LINE) else "return"
    fields: list[dict[str, Any]] = definition(name)["fields"]
    return fields if table in (ORDER, RETURN) else fields[-1]["type"]["items"]["fields"]


def avro_types(table: FieldTable) -> dict[str, avro.AvroType]:
    """The types of the fields in the Avro schema, by attribute."""
    record = avro.parse_schema(definition("order" if table in (ORDER, ORDER_LINE) else "return"))
    if table in (ORDER_LINE, RETURN_LINE):
        lines = record.fields[-1].type
        assert isinstance(lines, avro.Array)
        assert isinstance(lines.items, avro.RecordType)
        record = lines.items
    return {field.name: field.type for field in record.fields}


def expected_type(field: Field, table: FieldTable) -> avro.AvroType:
    if isinstance(field.type, Job | Lines):
        return avro_types(table)[field.attribute]
    if field.is_required or field.default is not None:
        return field.type.avro_type
    return avro.Optional(field.type.avro_type)


@pytest.mark.parametrize("table", TABLES, ids=TABLE_NAMES)
def test_the_avro_schema_has_the_fields_of_the_table(table: FieldTable) -> None:
    assert {field.attribute: expected_type(field, table) for field in table.fields} == avro_types(table)
    assert {field.name for field in table.fields} == {field["name"] for field in schema_fields(table)}
    assert table.record_type.__struct_fields__ == tuple(avro_types(table))


@pytest.mark.parametrize("table", TABLES, ids=TABLE_NAMES)
def test_an_optional_field_has_a_default_in_the_avro_schema(table: FieldTable) -> None:
    """Else a reader with the new schema could not read records of the old one."""
    rows = {field.name: field for field in table.fields}
    for field in schema_fields(table):
        row = rows[field["name"]]
        if isinstance(row.type, Segments):
            assert field["default"] == []
        elif not row.is_required and row.default is None:
            assert field["default"] is None


def resolved(value: Any) -> Any:
    """A part of the OpenAPI document with its references replaced."""
    if isinstance(value, dict):
        if "$ref" in value:
            name = value["$ref"].rpartition("/")[2]
            return resolved(OPENAPI["components"]["schemas"][name])
        return {key: resolved(part) for key, part in value.items()}
    return [resolved(part) for part in value] if isinstance(value, list) else value


def merged(schema: dict[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """The properties of an object schema, and which of them are required."""
    properties, required = dict(schema.get("properties", {})), set(schema.get("required", ()))
    for part in schema.get("allOf", ()):
        more, also = merged(part)
        properties, required = properties | more, required | also
    return properties, required


def documented(table: FieldTable) -> tuple[dict[str, Any], set[str]]:
    """The properties of an order, a return or a line in the OpenAPI document."""
    name = "Order" if table in (ORDER, ORDER_LINE) else "Return"
    properties, required = merged(resolved(OPENAPI["components"]["schemas"][name]))
    if table in (ORDER_LINE, RETURN_LINE):
        return merged(properties["lineItems"]["items"])
    return properties, required


def alternatives(schema: Any) -> Iterator[dict[str, Any]]:
    """The simple schemas that a value may match, each with one type."""
    for key in ("anyOf", "allOf"):
        for part in schema.get(key, ()):
            yield from alternatives(part)
    types = schema.get("type", [])
    for name in [types] if isinstance(types, str) else types:
        yield schema | {"type": name}


def bounds(type_: FieldType) -> dict[str, dict[str, Any]]:
    """The bounds that the document must state of a type, by JSON type."""
    limits: dict[str, dict[str, Any]] = {"string": {}}
    match type_:
        case Identifier(max_length):
            limits = {"string": {"minLength": 1, "maxLength": max_length}, "integer": {}}
        case Text(max_length):
            limits = {"string": {"maxLength": max_length}}
        case Quantity():
            limits = {"integer": {"minimum": type_.min_value, "maximum": type_.max_value}}
        case Integer64():
            limits = {"integer": {"format": "int64"}}
        case Amount():
            limits = {"number": {"minimum": 0}, "string": {"pattern": "^[0-9]{1,12}(\\.[0-9]{1,6})?$"}}
        case Segments():
            limits = {"array": {"items": {"type": ["string", "number"]}}, "string": {}}
        case Lines(_, max_items):
            limits = {"array": {"minItems": 1, "maxItems": max_items}}
    return limits


BOUNDS = {"minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems", "pattern", "format"}


@pytest.mark.parametrize("table", TABLES, ids=TABLE_NAMES)
def test_the_openapi_document_has_the_fields_of_the_table(table: FieldTable) -> None:
    properties, required = documented(table)
    assert set(properties) == set(table.sent)
    assert required == {field.name for field in table.sent.values() if field.is_required and not field.is_from_request}


@pytest.mark.parametrize(
    ("table", "name"), [(table, name) for table in TABLES for name in table.sent], ids=lambda value: str(value)[:20]
)
def test_the_openapi_document_has_the_bounds_of_the_table(table: FieldTable, name: str) -> None:
    field = table.sent[name]
    found = {part["type"]: part for part in alternatives(documented(table)[0][name])}
    assert found.keys() - {"null"} == bounds(field.type).keys()
    # The document does not say that null counts as absent where the field or its absence is required.
    assert ("null" in found) == (not field.is_required)
    for json_type, limits in bounds(field.type).items():
        part = found[json_type]
        assert {key: part[key] for key in limits} == limits
        assert BOUNDS & part.keys() == BOUNDS & limits.keys()


@pytest.mark.parametrize(
    ("table", "field"),
    [(table, field) for table in TABLES for field in table.sent.values()],
    ids=lambda value: str(getattr(value, "name", ""))[:20],
)
def test_every_field_has_cases(table: FieldTable, field: Field) -> None:
    if isinstance(field.type, Lines):
        return
    place = "line" if table in (ORDER_LINE, RETURN_LINE) else "put"
    members = [case.get(place, "") for case in cases("fields")]
    missing = [name for case in cases("fields") for name in case.get("without", ())]
    assert any(f'"{field.name}"' in text for text in members) or field.name in missing


def test_contributing_lists_the_files_that_a_field_touches() -> None:
    """Nothing else in `services/` and `schemas/` knows a field such as the coupon's code."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition("## Add a field\n")[2].partition("\n## ")[0]
    listed = {ROOT / path for path in re.findall(r"^\d\. `([^`]+)`", section, flags=re.MULTILINE)}
    assert {path for path in listed if not path.is_file()} == set()
    name = re.compile(rf"\b({EXAMPLE}|{ORDER.sent[EXAMPLE].attribute})\b")
    files = [*(ROOT / "services").rglob("*.py"), *SCHEMAS.glob("*.*"), *(SCHEMAS / "openapi").rglob("*.*")]
    knowing = {path for path in files if name.search(path.read_text(encoding="utf-8"))}
    assert knowing == listed - {SCHEMAS / "ids.json", HERE / "cases" / "fields.yaml"}
