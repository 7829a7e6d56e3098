"""Canonical forms of schemas, and compatibility between versions (by Apache Avro's own rules)."""

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.errors import AvroException
from avro.schema import parse

_PRIMITIVE = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
_NAMED = frozenset({"record", "enum", "fixed", "error"})
# Attributes that affect the bytes or how they are read. All others are for people or for one language.
_PLAIN_ATTRIBUTES = ("size", "logicalType", "precision", "scale")
# All that parsing an arbitrary text can raise.
_PARSE_ERRORS = (AvroException, ValueError, KeyError, TypeError, AttributeError, RecursionError)


class InvalidSchemaError(ValueError):
    """A text is not an Avro schema."""


class CompatibilityLevel(StrEnum):
    """Compatibility levels, with the names of Confluent's registry."""

    BACKWARD_TRANSITIVE = "BACKWARD_TRANSITIVE"
    FULL_TRANSITIVE = "FULL_TRANSITIVE"


def incompatibilities(level: CompatibilityLevel, new: str, olds: Mapping[int, str]) -> list[str]:
    """Return why the new version is incompatible, in sentences; schemas are JSON texts. Raises `InvalidSchemaError`."""
    reasons = []
    for number, old in olds.items():
        backward, forward = (
            f"it cannot read what version {number} wrote",
            f"version {number} cannot read what it writes",
        )
        reasons += [f"{backward}: {reason}" for reason in _incompatibility(reader=new, writer=old)]
        if level is CompatibilityLevel.FULL_TRANSITIVE:
            reasons += [f"{forward}: {reason}" for reason in _incompatibility(reader=old, writer=new)]
    return reasons


def _incompatibility(*, reader: str, writer: str) -> Sequence[str]:
    try:
        checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call] # avro's own
        result = checker.get_compatibility(parse(reader), parse(writer))
    except _PARSE_ERRORS as error:
        raise InvalidSchemaError(f"not an Avro schema: {type(error).__name__}") from error
    if result.compatibility is SchemaCompatibilityType.compatible:
        return []
    locations = ", ".join(sorted(location for location in result.locations if location != "/")) or "/"
    return [f"{', '.join(sorted(result.messages)) or 'they differ'} (at {locations})"]


def canonical_form(text: str) -> str:
    """Return a text that is equal for schemas that write and read the same bytes, with the same defaults and aliases.

    Documentation, the order of attributes and custom properties do not count. Raises `InvalidSchemaError`.
    """
    try:
        parse(text)
        return json.dumps(_canonical(json.loads(text), ""), sort_keys=True)
    except _PARSE_ERRORS as error:
        raise InvalidSchemaError(f"not an Avro schema: {type(error).__name__}") from error


def _canonical(schema: Any, namespace: str) -> Any:
    if isinstance(schema, str):
        return schema if schema in _PRIMITIVE else _full_name(schema, namespace)
    if isinstance(schema, list):
        return [_canonical(branch, namespace) for branch in schema]
    return _complex(schema, namespace)


def _complex(schema: Mapping[str, Any], namespace: str) -> Any:
    kind = schema["type"]
    if isinstance(kind, dict | list):
        return _canonical(kind, namespace)
    form = {name: schema[name] for name in _PLAIN_ATTRIBUTES if name in schema}
    if kind in _NAMED:
        return form | _named(schema, kind, namespace)
    if kind == "array":
        return {"type": kind, "items": _canonical(schema["items"], namespace)}
    if kind == "map":
        return {"type": kind, "values": _canonical(schema["values"], namespace)}
    return {"type": kind, **form} if form else _canonical(kind, namespace)


def _named(schema: Mapping[str, Any], kind: str, namespace: str) -> dict[str, Any]:
    name = _full_name(schema["name"], schema.get("namespace", namespace))
    inner = name.rpartition(".")[0]
    form: dict[str, Any] = {"type": kind, "name": name}
    if "aliases" in schema:
        form["aliases"] = [_full_name(alias, inner) for alias in schema["aliases"]]
    if kind == "enum":
        form |= {"symbols": schema["symbols"], "default": schema.get("default")}
    if kind in {"record", "error"}:
        form["fields"] = [_field(field, inner) for field in schema["fields"]]
    return form


def _field(field: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    form = {"name": field["name"], "type": _canonical(field["type"], namespace)}
    return form | {name: field[name] for name in ("default", "aliases") if name in field}


def _full_name(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"
