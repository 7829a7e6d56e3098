"""The product's schemas with an invented version history."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from services.chassis.avro.schemas import Schemas, released_path
from services.chassis.runtime.settings import REPOSITORY

NEWER_ID = 900


def schemas_with_older_version(name: str, older: Mapping[str, Any], at: Path) -> Schemas:
    """Return the schemas with `older` as version 1 of `name` (and its id), and today's definition as version 2.

    Other schemas have one version, today's definition.
    """
    ours = Schemas.load(REPOSITORY / "schemas")
    ids = {each: {"1": schema.schema_id} for each, schema in ours.items()}
    ids[name] = {"1": ours.versions[name][1].schema_id, "2": NEWER_ID}
    for each, schema in ours.items():
        (at / f"{each}.avsc").write_text(json.dumps(schema.definition))
    path = released_path(at, name, 1)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(older))
    (at / "ids.json").write_text(json.dumps(ids))
    return Schemas.load(at)


def without_fields(definition: Mapping[str, Any], *fields: str) -> dict[str, Any]:
    """Return the record definition without these fields."""
    return {**definition, "fields": [field for field in definition["fields"] if field["name"] not in fields]}
