"""The Avro schemas of the directory `schemas/`: all versions with their stable ids."""

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


@dataclass(frozen=True)
class Schema:
    """One version of a schema; `name` is the stem of its file, `definition` the document."""

    name: str
    number: int
    schema_id: int
    definition: Mapping[str, Any]
    registry_global_id: UUID | None = None

    @cached_property
    def text(self) -> str:
        """The document in one line, as registries return it."""
        return json.dumps(self.definition, separators=(",", ":"), ensure_ascii=False)

    @cached_property
    def global_id(self) -> UUID:
        """The registry's global id, or one derived from the document."""
        return self.registry_global_id or uuid5(NAMESPACE_URL, self.text)

    @cached_property
    def prefix(self) -> bytes:
        """The bytes that precede each body."""
        return wire_format.prefix(self.schema_id)

    @cached_property
    def parsed(self) -> Any:
        """The form that fastavro takes."""
        return parse_schema(deepcopy(dict(self.definition)))

    @cached_property
    def plain(self) -> Any:
        """The form that fastavro takes, without logical types: times remain integers and decimals bytes."""
        return parse_schema(without_logical_types(self.definition))


class Schemas(Mapping[str, Schema]):
    """The current versions by name; `versions` lists every version of each by its number."""

    def __init__(self, current: Mapping[str, Schema], versions: Mapping[str, Mapping[int, Schema]]) -> None:
        self._current = current
        self.versions = versions
        all_versions = [version for numbered in versions.values() for version in numbered.values()]
        self._by_id: dict[SchemaReference, Schema] = {version.schema_id: version for version in all_versions}
        self._by_id |= {version.global_id: version for version in all_versions}

    def __getitem__(self, name: str) -> Schema:
        return self._current[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._current)

    def __len__(self) -> int:
        return len(self._current)

    def by_id(self, reference: SchemaReference) -> Schema | None:
        """Return the version with this id or global id, if there is one."""
        return self._by_id.get(reference)

    @classmethod
    def load(cls, directory: Path) -> "Schemas":
        """Load `ids.json`, each `*.avsc` and the released versions; raises if they do not match."""
        ids: dict[str, dict[str, int]] = json.loads((directory / "ids.json").read_text(encoding="utf-8"))
        files = {path.stem: path for path in directory.glob("*.avsc")}
        if files.keys() != ids.keys():
            raise ValueError(f"ids.json and the schemas differ: {sorted(files.keys() ^ ids.keys())}")
        all_ids = [schema_id for versions in ids.values() for schema_id in versions.values()]
        if len(set(all_ids)) < len(all_ids):
            raise ValueError("ids.json has a duplicate id")
        versions = {name: _versions(name, path, ids[name]) for name, path in files.items()}
        current = {name: numbered[max(numbered)] for name, numbered in versions.items()}
        for schema in current.values():
            _ = schema.parsed  # raises now for an invalid schema, not at its first use
        return cls(current, versions)

    def with_registry_ids(self, registry_ids: Mapping[tuple[str, int], "RegistryIds"]) -> "Schemas":
        """Return the schemas under the registry's ids of (name, version); versions without an id are dropped."""
        versions = {
            name: {
                number: replace(version, schema_id=ids.schema_id, registry_global_id=ids.global_id)
                for number, version in numbered.items()
                if (ids := registry_ids.get((name, number))) is not None
            }
            for name, numbered in self.versions.items()
        }
        numbers = {name: schema.number for name, schema in self._current.items()}
        current = {name: versions[name][number] for name, number in numbers.items() if number in versions[name]}
        return Schemas(current, versions)


class RegistryIds(NamedTuple):
    """A schema's ids in a registry; not every registry has global ids."""

    schema_id: int
    global_id: UUID | None = None


def released_path(directory: Path, name: str, number: int) -> Path:
    """Return the path of a released version."""
    return directory / RELEASED / name / f"{number}.avsc"


def _versions(name: str, path: Path, ids: Mapping[str, int]) -> dict[int, Schema]:
    """Return all versions: the newest is the file itself, the others are in the directory of released versions."""
    numbers = sorted(map(int, ids))
    paths = {number: released_path(path.parent, name, number) for number in numbers} | {numbers[-1]: path}
    return {
        number: Schema(name, number, ids[str(number)], json.loads(paths[number].read_text(encoding="utf-8")))
        for number in numbers
    }


def without_logical_types(definition: Any) -> Any:
    """Return the schema without logical types: the same bytes, read as integers and bytes."""
    if isinstance(definition, dict):
        plain = {key: without_logical_types(value) for key, value in definition.items() if key != "logicalType"}
        if plain.get("type") == "bytes" and "name" not in plain:
            return {"type": "bytes"}
        return plain
    if isinstance(definition, list):
        return [without_logical_types(item) for item in definition]
    return definition
