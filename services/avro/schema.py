"""Model of an Avro schema, limited to what our own schemas use; anything else is refused when a service starts."""

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_UPPER_CASE = re.compile(r"(?<=[a-z0-9])([A-Z])")


class Primitive(enum.Enum):
    """A type without parts. A long is usually small, an instant never; a decimal has 18 digits, 6 in the fraction."""

    STRING = "string"
    INT = "int"
    LONG = "long"
    BOOLEAN = "boolean"
    TIMESTAMP_MICROS = "timestamp-micros"
    DECIMAL = "decimal"


@dataclass(frozen=True, slots=True)
class Enum:
    """An enumeration."""

    name: str
    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Array:
    """An array."""

    items: "AvroType"


@dataclass(frozen=True, slots=True)
class Optional:
    """A union of null, first, and one other type."""

    inner: "AvroType"


@dataclass(frozen=True, slots=True)
class Field:
    """A field; its name in snake case."""

    name: str
    type: "AvroType"


@dataclass(frozen=True, slots=True)
class RecordType:
    """A record."""

    name: str
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Union:
    """A union of records."""

    branches: tuple[RecordType, ...]


AvroType = Primitive | Enum | Array | Optional | RecordType | Union

# Each symbol's number fits into one byte.
_MAX_SYMBOLS = 64
_PRIMITIVES: dict[str, AvroType] = {name: Primitive(name) for name in ("string", "int", "long", "boolean")}


def parse_schema(definition: Mapping[str, Any]) -> RecordType:
    """Parse a record's schema. Raises `ValueError` for a schema that uses what ours do not."""
    type_ = _parse(definition, {})
    if not isinstance(type_, RecordType):
        raise ValueError("not the schema of a record")  # noqa: TRY004 - the schema is wrong, not its Python type
    return type_


def to_snake_case(name: str) -> str:
    """Return `utcOffsetMinutes` as `utc_offset_minutes`."""
    return _UPPER_CASE.sub(r"_\1", name).lower()


def _parse(definition: Any, named: dict[str, AvroType]) -> AvroType:
    if isinstance(definition, str):
        type_ = _PRIMITIVES.get(definition) or named.get(definition.rpartition(".")[2])
    elif isinstance(definition, list):
        type_ = _parse_union(definition, named)
    else:
        type_ = _parse_logical(definition) or _parse_complex(definition, named)
    if type_ is None:
        raise ValueError(f"not a schema of ours: {definition}")
    return type_


def _parse_union(branches: list[Any], named: dict[str, AvroType]) -> AvroType | None:
    if len(branches) == 2 and branches[0] == "null":
        return Optional(_parse(branches[1], named))
    types = [_parse(branch, named) for branch in branches]
    records = tuple(type_ for type_ in types if isinstance(type_, RecordType))
    return Union(records) if len(records) == len(branches) else None


def _parse_logical(definition: Mapping[str, Any]) -> AvroType | None:
    match definition:
        case {"type": "long", "logicalType": "timestamp-micros"}:
            return Primitive.TIMESTAMP_MICROS
        case {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 6}:
            return Primitive.DECIMAL
    return None


def _parse_complex(definition: Mapping[str, Any], named: dict[str, AvroType]) -> AvroType | None:
    match definition:
        case {"type": "array", "items": items}:
            return Array(_require_width(_parse(items, named)))
        case {"type": "enum", "name": str(name), "symbols": list(symbols)} if len(symbols) <= _MAX_SYMBOLS:
            return named.setdefault(name, Enum(name, tuple(symbols)))
        case {"type": "record", "name": str(name), "fields": list(fields)}:
            parts = tuple(Field(to_snake_case(field["name"]), _parse(field["type"], named)) for field in fields)
            return named.setdefault(name, RecordType(name, parts))
    return None


def _require_width(items: AvroType) -> AvroType:
    # Items that take no bytes: a block of a few bytes could claim billions of them.
    if not _has_width(items):
        raise ValueError("items without width")
    return items


def _has_width(type_: AvroType) -> bool:
    return not isinstance(type_, RecordType) or any(_has_width(field.type) for field in type_.fields)
