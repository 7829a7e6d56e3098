"""A parsed Avro schema as what our own schemas consist of; anything else is refused when a service starts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_HUMP = re.compile(r"(?<=[a-z0-9])([A-Z])")


@dataclass(frozen=True, slots=True)
class Text:
    """A string."""


@dataclass(frozen=True, slots=True)
class Int:
    """A 32-bit integer."""


@dataclass(frozen=True, slots=True)
class Long:
    """A 64-bit integer, usually small."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """An instant in microseconds, never small."""


@dataclass(frozen=True, slots=True)
class Truth:
    """A boolean."""


@dataclass(frozen=True, slots=True)
class Amount:
    """A decimal of 18 digits, six of them in the fraction."""


@dataclass(frozen=True, slots=True)
class Enum:
    """One of some symbols."""

    name: str
    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Items:
    """An array."""

    of: "Kind"


@dataclass(frozen=True, slots=True)
class Optional:
    """A union of null, first, and one other."""

    of: "Kind"


@dataclass(frozen=True, slots=True)
class Field:
    """A field; its name in snake case."""

    name: str
    kind: "Kind"


@dataclass(frozen=True, slots=True)
class Record:
    """A record."""

    name: str
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Union:
    """One of some records."""

    of: tuple[Record, ...]


Kind = Text | Int | Long | Stamp | Truth | Amount | Enum | Items | Optional | Record | Union

# The number of each fits into one byte.
_MOST_SYMBOLS = 64
_PLAIN: dict[str, Kind] = {"string": Text(), "int": Int(), "long": Long(), "boolean": Truth()}


def record_of(definition: Mapping[str, Any]) -> Record:
    """The model of a record's schema. Raises `ValueError` for a schema that uses what ours do not."""
    kind = _kind(definition, {})
    if not isinstance(kind, Record):
        raise ValueError("not the schema of a record")  # noqa: TRY004 - what is wrong is the schema, not its type
    return kind


def snake(name: str) -> str:
    """`utcOffsetMinutes` as `utc_offset_minutes`."""
    return _HUMP.sub(r"_\1", name).lower()


def _kind(definition: Any, named: dict[str, Kind]) -> Kind:
    if isinstance(definition, str):
        known = _PLAIN.get(definition) or named.get(definition.rpartition(".")[2])
    elif isinstance(definition, list):
        known = _union(definition, named)
    else:
        known = _logical(definition) or _complex(definition, named)
    if known is None:
        raise ValueError(f"not a schema of ours: {definition}")
    return known


def _union(branches: list[Any], named: dict[str, Kind]) -> Kind | None:
    if len(branches) == 2 and branches[0] == "null":
        return Optional(_kind(branches[1], named))
    kinds = [_kind(branch, named) for branch in branches]
    records = tuple(kind for kind in kinds if isinstance(kind, Record))
    return Union(records) if len(records) == len(branches) else None


def _logical(definition: Mapping[str, Any]) -> Kind | None:
    match definition:
        case {"type": "long", "logicalType": "timestamp-micros"}:
            return Stamp()
        case {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 6}:
            return Amount()
    return None


def _complex(definition: Mapping[str, Any], named: dict[str, Kind]) -> Kind | None:
    match definition:
        case {"type": "array", "items": items}:
            return Items(_wide(_kind(items, named)))
        case {"type": "enum", "name": str(name), "symbols": list(symbols)} if len(symbols) <= _MOST_SYMBOLS:
            return named.setdefault(name, Enum(name, tuple(symbols)))
        case {"type": "record", "name": str(name), "fields": list(fields)}:
            parts = tuple(Field(snake(field["name"]), _kind(field["type"], named)) for field in fields)
            return named.setdefault(name, Record(name, parts))
    return None


def _wide(kind: Kind) -> Kind:
    # A few bytes could stand for billions of items that take no bytes.
    if isinstance(kind, Record) and not kind.fields:
        raise ValueError("items without width")
    return kind
