"""Which schemas mean the same, and which can read what was written with another (Apache Avro's own rules)."""

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.errors import AvroException
from avro.schema import parse

_PRIMITIVE = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
_NAMED = frozenset({"record", "enum", "fixed", "error"})
# What changes the bytes, or how they are read. Anything else in a schema is for people or for one language.
_PLAIN_ATTRIBUTES = ("size", "logicalType", "precision", "scale")
# What parsing any text can end with.
_NOT_PARSED = (AvroException, ValueError, KeyError, TypeError, AttributeError, RecursionError)


class InvalidSchemaError(ValueError):
    """A text is no Avro schema."""


class CompatibilityLevel(StrEnum):
    """Which versions must be able to read each other. The names are those of Confluent's registry."""

    BACKWARD_TRANSITIVE = "BACKWARD_TRANSITIVE"
    FULL_TRANSITIVE = "FULL_TRANSITIVE"


def incompatibilities(level: CompatibilityLevel, new: str, olds: Mapping[int, str]) -> list[str]:
    """Why a new version may not be, in sentences; none if it may. Texts are JSON; raises `NoSchema`."""
    found = []
    for number, old in olds.items():
        found += [f"it cannot read what version {number} wrote: {why}" for why in _reading(reader=new, writer=old)]
        if level is CompatibilityLevel.FULL_TRANSITIVE:
            found += [f"version {number} cannot read what it writes: {why}" for why in _reading(reader=old, writer=new)]
    return found


def _reading(*, reader: str, writer: str) -> Sequence[str]:
    try:
        checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call] # avro's own
        result = checker.get_compatibility(parse(reader), parse(writer))
    except _NOT_PARSED as error:
        raise InvalidSchemaError(f"not an Avro schema: {type(error).__name__}") from error
    if result.compatibility is SchemaCompatibilityType.compatible:
        return []
    places = ", ".join(sorted(place for place in result.locations if place != "/")) or "/"
    return [f"{', '.join(sorted(result.messages)) or 'they differ'} (at {places})"]


def canonical_form(text: str) -> str:
    """A text that is the same for schemas that write the same bytes and read them alike, defaults and aliases included.

    Sentences, the order of attributes and what languages note for themselves do not count. Raises `NoSchema`.
    """
    try:
        parse(text)
        return json.dumps(_form(json.loads(text), ""), sort_keys=True)
    except _NOT_PARSED as error:
        raise InvalidSchemaError(f"not an Avro schema: {type(error).__name__}") from error


def _form(schema: Any, namespace: str) -> Any:
    if isinstance(schema, str):
        return schema if schema in _PRIMITIVE else _full_name(schema, namespace)
    if isinstance(schema, list):
        return [_form(branch, namespace) for branch in schema]
    return _complex(schema, namespace)


def _complex(schema: Mapping[str, Any], namespace: str) -> Any:
    kind = schema["type"]
    if isinstance(kind, dict | list):
        return _form(kind, namespace)
    form = {name: schema[name] for name in _PLAIN_ATTRIBUTES if name in schema}
    if kind in _NAMED:
        return form | _named(schema, kind, namespace)
    if kind == "array":
        return {"type": kind, "items": _form(schema["items"], namespace)}
    if kind == "map":
        return {"type": kind, "values": _form(schema["values"], namespace)}
    return {"type": kind, **form} if form else _form(kind, namespace)


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
    form = {"name": field["name"], "type": _form(field["type"], namespace)}
    return form | {name: field[name] for name in ("default", "aliases") if name in field}


def _full_name(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"
