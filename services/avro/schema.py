"""A parsed Avro schema as what our own schemas consist of; anything else is refused when a service starts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_HUMP = re.compile(r"(?<=[a-z0-9])([A-Z])")


@dataclass(frozen=True, slots=True)
class String:
    """A string."""


@dataclass(frozen=True, slots=True)
class Int:
    """A 32-bit integer."""


@dataclass(frozen=True, slots=True)
class Long:
    """A 64-bit integer, usually small."""


@dataclass(frozen=True, slots=True)
class TimestampMicros:
    """An instant in microseconds, never small."""


@dataclass(frozen=True, slots=True)
class Boolean:
    """A boolean."""


@dataclass(frozen=True, slots=True)
class DecimalBytes:
    """A decimal of 18 digits, six of them in the fraction."""


@dataclass(frozen=True, slots=True)
class Enum:
    """One of some symbols."""

    name: str
    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Array:
    """An array."""

    items: "AvroType"


@dataclass(frozen=True, slots=True)
class Optional:
    """A union of null, first, and one other."""

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
    """One of some records."""

    branches: tuple[RecordType, ...]


AvroType = String | Int | Long | TimestampMicros | Boolean | DecimalBytes | Enum | Array | Optional | RecordType | Union

# The number of each fits into one byte.
_MAX_SYMBOLS = 64
_PLAIN: dict[str, AvroType] = {"string": String(), "int": Int(), "long": Long(), "boolean": Boolean()}


def parse_schema(definition: Mapping[str, Any]) -> RecordType:
    """The model of a record's schema. Raises `ValueError` for a schema that uses what ours do not."""
    kind = _kind(definition, {})
    if not isinstance(kind, RecordType):
        raise ValueError("not the schema of a record")  # noqa: TRY004 - what is wrong is the schema, not its type
    return kind


def to_snake_case(name: str) -> str:
    """`utcOffsetMinutes` as `utc_offset_minutes`."""
    return _HUMP.sub(r"_\1", name).lower()


def _kind(definition: Any, named: dict[str, AvroType]) -> AvroType:
    if isinstance(definition, str):
        known = _PLAIN.get(definition) or named.get(definition.rpartition(".")[2])
    elif isinstance(definition, list):
        known = _union(definition, named)
    else:
        known = _logical(definition) or _complex(definition, named)
    if known is None:
        raise ValueError(f"not a schema of ours: {definition}")
    return known


def _union(branches: list[Any], named: dict[str, AvroType]) -> AvroType | None:
    if len(branches) == 2 and branches[0] == "null":
        return Optional(_kind(branches[1], named))
    kinds = [_kind(branch, named) for branch in branches]
    records = tuple(kind for kind in kinds if isinstance(kind, RecordType))
    return Union(records) if len(records) == len(branches) else None


def _logical(definition: Mapping[str, Any]) -> AvroType | None:
    match definition:
        case {"type": "long", "logicalType": "timestamp-micros"}:
            return TimestampMicros()
        case {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 6}:
            return DecimalBytes()
    return None


def _complex(definition: Mapping[str, Any], named: dict[str, AvroType]) -> AvroType | None:
    match definition:
        case {"type": "array", "items": items}:
            return Array(_wide(_kind(items, named)))
        case {"type": "enum", "name": str(name), "symbols": list(symbols)} if len(symbols) <= _MAX_SYMBOLS:
            return named.setdefault(name, Enum(name, tuple(symbols)))
        case {"type": "record", "name": str(name), "fields": list(fields)}:
            parts = tuple(Field(to_snake_case(field["name"]), _kind(field["type"], named)) for field in fields)
            return named.setdefault(name, RecordType(name, parts))
    return None


def _wide(kind: AvroType) -> AvroType:
    # A few bytes could stand for billions of items that take no bytes.
    if isinstance(kind, RecordType) and not kind.fields:
        raise ValueError("items without width")
    return kind
