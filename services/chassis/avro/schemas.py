"""The Avro schemas, all their versions and their stable ids, as kept in `schemas/`."""

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from uuid import NAMESPACE_URL, UUID, uuid5

from fastavro import parse_schema

from services.chassis.avro import wire_format
from services.chassis.avro.wire_format import SchemaReference

RELEASED = "released"


@dataclass(frozen=True, slots=True)
class Schema:
    """One schema in its current version.

    `definition` is the document, `parsed` what fastavro takes, `plain` likewise without logical types, so that times
    stay integers and decimals bytes. `prefix` stands before each body.
    """

    name: str
    schema_id: int
    definition: Mapping[str, Any]
    parsed: Any
    plain: Any
    prefix: bytes


@dataclass(frozen=True)
class SchemaVersion:
    """One version of a schema, current or not."""

    name: str
    number: int
    schema_id: int
    definition: Mapping[str, Any]
    given_global_id: UUID | None = None

    @cached_property
    def text(self) -> str:
        """The document in one line, as registries serve it."""
        return json.dumps(self.definition, separators=(",", ":"), ensure_ascii=False)

    @cached_property
    def global_id(self) -> UUID:
        """An id that follows from the document alone, unless another registry has one of its own."""
        return self.given_global_id or uuid5(NAMESPACE_URL, self.text)

    @cached_property
    def plain(self) -> Any:
        """What fastavro takes, without logical types."""
        return parse_schema(without_logical_types(self.definition))


class Schemas(Mapping[str, Schema]):
    """All schemas by the stem of their file; `versions` lists every version of each by its number."""

    def __init__(self, schemas: Mapping[str, Schema], versions: Mapping[str, Mapping[int, SchemaVersion]]) -> None:
        self._schemas = dict(schemas)
        self.versions = versions
        self._written: dict[SchemaReference, SchemaVersion] = {}
        for numbered in versions.values():
            for version in numbered.values():
                self._written[version.schema_id] = version
                self._written[version.global_id] = version

    def __getitem__(self, name: str) -> Schema:
        return self._schemas[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._schemas)

    def __len__(self) -> int:
        return len(self._schemas)

    def by_id(self, reference: SchemaReference) -> SchemaVersion | None:
        """The version that a value refers to by its id or its global id; None if there is none."""
        return self._written.get(reference)

    @classmethod
    def load(cls, directory: Path) -> "Schemas":
        """Read `ids.json`, each `*.avsc` and the released versions; raises if one lacks the other."""
        ids: dict[str, dict[str, int]] = json.loads((directory / "ids.json").read_text(encoding="utf-8"))
        files = {path.stem: path for path in directory.glob("*.avsc")}
        if files.keys() != ids.keys():
            raise ValueError(f"ids.json and the schemas differ: {sorted(files.keys() ^ ids.keys())}")
        given = [schema_id for versions in ids.values() for schema_id in versions.values()]
        if len(set(given)) < len(given):
            raise ValueError("ids.json gives an id twice")
        versions = {name: _versions(name, path, ids[name]) for name, path in files.items()}
        return cls({name: _schema(numbered[max(numbered)]) for name, numbered in versions.items()}, versions)

    def with_registry_ids(self, given: Mapping[tuple[str, int], "RegistryIds"]) -> "Schemas":
        """The same schemas under the ids that another registry gave to (name, version); versions without one go."""
        versions = {
            name: {
                number: replace(version, schema_id=ids.schema_id, given_global_id=ids.global_id)
                for number, version in numbered.items()
                if (ids := given.get((name, number))) is not None
            }
            for name, numbered in self.versions.items()
        }
        current = {
            name: replace(schema, schema_id=ids.schema_id, prefix=wire_format.prefix(ids.schema_id))
            for name, schema in self._schemas.items()
            if (ids := given.get((name, max(self.versions[name])))) is not None
        }
        return Schemas(current, versions)


class RegistryIds(NamedTuple):
    """What another registry calls a schema; the global id only if it has such ids."""

    schema_id: int
    global_id: UUID | None = None


def released_path(directory: Path, name: str, number: int) -> Path:
    """Where a released version is kept."""
    return directory / RELEASED / name / f"{number}.avsc"


def _versions(name: str, path: Path, ids: Mapping[str, int]) -> dict[int, SchemaVersion]:
    """Every version; the newest is the file itself, the others are kept as they were released."""
    newest = max(map(int, ids))
    return {
        number: SchemaVersion(
            name,
            number,
            ids[str(number)],
            _read(path if number == newest else released_path(path.parent, name, number)),
        )
        for number in sorted(map(int, ids))
    }


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _schema(version: SchemaVersion) -> Schema:
    return Schema(
        name=version.name,
        schema_id=version.schema_id,
        definition=version.definition,
        parsed=parse_schema(deepcopy(dict(version.definition))),
        plain=version.plain,
        prefix=wire_format.prefix(version.schema_id),
    )


def without_logical_types(definition: Any) -> Any:
    """The same wire format, read as integers and bytes."""
    if isinstance(definition, dict):
        kept = {key: without_logical_types(value) for key, value in definition.items() if key != "logicalType"}
        if kept.get("type") == "bytes" and "name" not in kept:
            return {"type": "bytes"}
        return kept
    if isinstance(definition, list):
        return [without_logical_types(item) for item in definition]
    return definition
