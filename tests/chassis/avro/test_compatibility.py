"""Which schemas mean the same, and which versions can read each other."""

import json
from typing import Any

import pytest

from services.chassis.avro.compatibility import (
    CompatibilityLevel,
    InvalidSchemaError,
    canonical_form,
    incompatibilities,
)


def a_record(*fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": "Till", "namespace": "shop", "fields": list(fields), **more}


def a_field(kind: Any = "string", **more: Any) -> dict[str, Any]:
    return {"name": "f", "type": kind, **more}


def an_enum(**more: Any) -> dict[str, Any]:
    return {"type": "enum", "name": "Kind", "symbols": ["A", "B"], **more}


DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 6}
FIXED = {"type": "fixed", "name": "Digest", "size": 16}
NAMED_TWICE = a_record(a_field(FIXED), {"name": "g", "type": "Digest"})

SAME: dict[str, tuple[Any, Any]] = {
    "sentences": (a_record(a_field()), a_record(a_field(doc="of it"), doc="of all")),
    "what a language notes": (a_record(a_field()), a_record(a_field({"type": "string", "avro.java.string": "String"}))),
    "a primitive, spelled out": (a_record(a_field()), a_record(a_field({"type": "string"}))),
    "a namespace in the name": (a_record(), {"type": "record", "name": "shop.Till", "fields": []}),
    "an alias, spelled out": (a_record(aliases=["Old"]), a_record(aliases=["shop.Old"])),
    "a name, spelled out": (NAMED_TWICE, a_record(a_field(FIXED), {"name": "g", "type": "shop.Digest"})),
    "a namespace that is inherited": (a_record(a_field(an_enum())), a_record(a_field(an_enum(namespace="shop")))),
}
DIFFERENT: dict[str, tuple[Any, Any]] = {
    "the name": (a_record(), a_record(name="Other")),
    "the namespace": (a_record(), a_record(namespace="other")),
    "an alias": (a_record(), a_record(aliases=["Old"])),
    "an alias of a field": (a_record(a_field()), a_record(a_field(aliases=["old"]))),
    "a default": (a_record(a_field(default="x")), a_record(a_field(default="y"))),
    "a default of null, or none": (
        a_record(a_field(["null", "int"], default=None)),
        a_record(a_field(["null", "int"])),
    ),
    "symbols": (an_enum(), an_enum(symbols=["B", "A"])),
    "an enum's default": (an_enum(default="A"), an_enum(default="B")),
    "a size": (FIXED, {**FIXED, "size": 17}),
    "a scale": (DECIMAL, {**DECIMAL, "scale": 5}),
    "a precision": (DECIMAL, {**DECIMAL, "precision": 19}),
    "what bytes mean": (DECIMAL, "bytes"),
    "the order of a union": (["null", "int"], ["int", "null"]),
    "items": ({"type": "array", "items": "int"}, {"type": "array", "items": "long"}),
    "values": ({"type": "map", "values": "int"}, {"type": "map", "values": "long"}),
}


@pytest.mark.parametrize("what", SAME)
def test_schemas_that_read_and_write_alike_have_one_form(what: str) -> None:
    one, other = SAME[what]
    assert canonical_form(json.dumps(one)) == canonical_form(json.dumps(other))


@pytest.mark.parametrize("what", DIFFERENT)
def test_schemas_that_differ_in_what_counts_have_different_forms(what: str) -> None:
    one, other = DIFFERENT[what]
    assert canonical_form(json.dumps(one)) != canonical_form(json.dumps(other))


NOT_PARSED = [
    "",
    "{",
    "null",
    "7",
    '"no such type"',
    '{"type": "record"}',
    '{"type": "enum", "name": "E"}',
    "[" * 9_999,
]


@pytest.mark.parametrize("text", NOT_PARSED, ids=lambda text: text[:20])
def test_what_is_no_schema_is_told(text: str) -> None:
    with pytest.raises(InvalidSchemaError):
        canonical_form(text)
    with pytest.raises(InvalidSchemaError):
        incompatibilities(CompatibilityLevel.BACKWARD_TRANSITIVE, text, {1: '"int"'})


WITHOUT, WITH = a_record(), a_record(a_field(default=""))
REQUIRED = a_record(a_field())


@pytest.mark.parametrize(
    ("level", "new", "olds", "versions"),
    [
        (CompatibilityLevel.BACKWARD_TRANSITIVE, WITH, [WITHOUT, WITHOUT], []),
        (CompatibilityLevel.FULL_TRANSITIVE, WITH, [WITHOUT, WITHOUT], []),
        (CompatibilityLevel.BACKWARD_TRANSITIVE, WITHOUT, [REQUIRED, WITH], []),
        (CompatibilityLevel.FULL_TRANSITIVE, WITHOUT, [REQUIRED, WITH], ["version 1 cannot read what it writes"]),
        (CompatibilityLevel.BACKWARD_TRANSITIVE, REQUIRED, [WITHOUT, WITH], ["it cannot read what version 1 wrote"]),
        (CompatibilityLevel.FULL_TRANSITIVE, REQUIRED, [WITHOUT, WITH], ["it cannot read what version 1 wrote"]),
    ],
)
def test_every_earlier_version_counts_not_only_the_last(
    level: CompatibilityLevel, new: Any, olds: list[Any], versions: list[str]
) -> None:
    found = incompatibilities(level, json.dumps(new), {number: json.dumps(old) for number, old in enumerate(olds, 1)})
    assert [sentence.partition(":")[0] for sentence in found] == versions
