"""The registry: schemas and their stable ids as they lie in a directory."""

import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fastavro import schemaless_reader, schemaless_writer

from services.chassis.avro.schemas import RegistryIds, Schemas, released_path, without_logical_types

PRICE = {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 6}
DEFINITION: dict[str, Any] = {
    "type": "record",
    "name": "Sale",
    "fields": [
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "price", "type": ["null", PRICE], "default": None},
        {"name": "lines", "type": {"type": "array", "items": PRICE}},
    ],
}


def a_directory(at: Path, ids: dict[str, dict[str, int]], **definitions: Any) -> Path:
    (at / "ids.json").write_text(json.dumps(ids), encoding="utf-8")
    for name, definition in definitions.items():
        (at / f"{name}.avsc").write_text(json.dumps(definition), encoding="utf-8")
    return at


def a_released_version(at: Path, name: str, number: int, definition: Any) -> None:
    path = released_path(at, name, number)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(definition), encoding="utf-8")


OLD = {**DEFINITION, "fields": DEFINITION["fields"][:1]}


def test_a_schema_has_the_id_of_its_newest_version(tmp_path: Path) -> None:
    a_released_version(tmp_path, "sale", 1, OLD)
    schemas = Schemas.load(a_directory(tmp_path, {"sale": {"1": 3, "2": 9}}, sale=DEFINITION))
    assert list(schemas) == ["sale"]
    assert len(schemas) == 1
    assert schemas["sale"].schema_id == 9
    assert schemas["sale"].prefix == b"\0\0\0\0\x09"
    assert schemas["sale"].definition == DEFINITION
    assert schemas.by_id(9) is schemas.versions["sale"][2]


def test_older_versions_are_there_by_id_and_by_global_id(tmp_path: Path) -> None:
    a_released_version(tmp_path, "sale", 1, OLD)
    schemas = Schemas.load(a_directory(tmp_path, {"sale": {"1": 3, "2": 9}}, sale=DEFINITION))
    old = schemas.by_id(3)
    assert old is schemas.versions["sale"][1]
    assert old is not None
    assert old.definition == OLD
    assert schemas.by_id(old.global_id) is old
    assert schemas.by_id(4) is None
    assert schemas.versions["sale"][2].global_id != old.global_id


def test_another_registry_may_have_other_ids(tmp_path: Path) -> None:
    a_released_version(tmp_path, "sale", 1, OLD)
    schemas = Schemas.load(a_directory(tmp_path, {"sale": {"1": 3, "2": 9}}, sale=DEFINITION))
    elsewhere = schemas.with_registry_ids({("sale", 2): RegistryIds(100_001)})
    assert elsewhere["sale"].prefix == b"\0\0\x01\x86\xa1"
    assert elsewhere.by_id(100_001) is elsewhere.versions["sale"][2]
    assert elsewhere.by_id(3) is None
    assert elsewhere.by_id(9) is None


@pytest.mark.parametrize("ids", [{}, {"sale": {"1": 1}, "other": {"1": 2}}])
def test_files_and_ids_must_agree(tmp_path: Path, ids: dict[str, dict[str, int]]) -> None:
    with pytest.raises(ValueError, match="differ"):
        Schemas.load(a_directory(tmp_path, ids, sale=DEFINITION))


def test_an_id_belongs_to_one_schema(tmp_path: Path) -> None:
    other = {"type": "record", "name": "Other", "fields": []}
    with pytest.raises(ValueError, match="duplicate id"):
        Schemas.load(a_directory(tmp_path, {"sale": {"1": 1}, "other": {"1": 1}}, sale=DEFINITION, other=other))


def test_a_schema_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="nonsense"):
        Schemas.load(a_directory(tmp_path, {"sale": {"1": 1}}, sale={"type": "nonsense"}))


def test_plain_reads_the_same_bytes_without_logical_types(tmp_path: Path) -> None:
    schema = Schemas.load(a_directory(tmp_path, {"sale": {"1": 1}}, sale=DEFINITION))["sale"]
    written = io.BytesIO()
    at = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    sale = {"at": at, "price": Decimal("1.5"), "lines": [Decimal("0.000001")]}
    schemaless_writer(written, schema.parsed, sale, strict=True)
    plain = schemaless_reader(io.BytesIO(written.getvalue()), schema.plain, None)
    assert plain == {"at": 1_767_323_045_678_901, "price": (1_500_000).to_bytes(3), "lines": [b"\x01"]}
    again = io.BytesIO()
    schemaless_writer(again, schema.plain, plain, strict=True)
    assert again.getvalue() == written.getvalue()


def test_taking_logical_types_away_leaves_the_document_alone() -> None:
    before = json.dumps(DEFINITION)
    assert "logicalType" not in json.dumps(without_logical_types(DEFINITION))
    assert json.dumps(DEFINITION) == before
