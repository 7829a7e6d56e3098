"""The Avro schemas and their stable ids, as kept in `schemas/`."""

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastavro import parse_schema

from services.chassis import framing


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


class Schemas(Mapping[str, Schema]):
    """All schemas by the stem of their file."""

    def __init__(self, schemas: Mapping[str, Schema]) -> None:
        self._schemas = dict(schemas)
        self.by_id = {schema.schema_id: schema for schema in schemas.values()}

    def __getitem__(self, name: str) -> Schema:
        return self._schemas[name]

    def __iter__(self) -> Any:
        return iter(self._schemas)

    def __len__(self) -> int:
        return len(self._schemas)

    @classmethod
    def load(cls, directory: Path) -> "Schemas":
        """Read `ids.json` and each `*.avsc`; raises if one lacks the other."""
        ids: dict[str, dict[str, int]] = json.loads((directory / "ids.json").read_text(encoding="utf-8"))
        files = {path.stem: path for path in directory.glob("*.avsc")}
        if files.keys() != ids.keys():
            raise ValueError(f"ids.json and the schemas differ: {sorted(files.keys() ^ ids.keys())}")
        given = [schema_id for versions in ids.values() for schema_id in versions.values()]
        if len(set(given)) < len(given):
            raise ValueError("ids.json gives an id twice")
        return cls({name: _schema(name, path, max(ids[name].values())) for name, path in files.items()})


def _schema(name: str, path: Path, schema_id: int) -> Schema:
    definition = json.loads(path.read_text(encoding="utf-8"))
    return Schema(
        name=name,
        schema_id=schema_id,
        definition=definition,
        parsed=parse_schema(deepcopy(definition)),
        plain=parse_schema(without_logical_types(definition)),
        prefix=framing.prefix(schema_id),
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
