"""Enforces the schema rules: released versions never change, later ones stay compatible."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from services.chassis.avro.compatibility import CompatibilityLevel, InvalidSchemaError, incompatibilities
from services.chassis.avro.schemas import Schemas, released_path
from services.topics import compatibility_level

_IDS_FILE = "ids.json"


def find_violations(directory: Path) -> list[str]:
    """Return one sentence per violation, with the version and the reason; an empty list if all is well."""
    try:
        schemas = Schemas.load(directory)
    except (OSError, ValueError) as error:
        return [f"The schemas cannot be read: {error}."]
    return [sentence for name in sorted(schemas) for sentence in _find_schema_violations(name, schemas, directory)]


def _find_schema_violations(name: str, schemas: Schemas, directory: Path) -> Iterator[str]:
    level = compatibility_level(name)
    texts = {number: version.text for number, version in schemas.versions[name].items()}
    newest = max(texts)
    released = released_path(directory, name, newest)
    if released.is_file() and json.loads(released.read_text(encoding="utf-8")) != json.loads(texts[newest]):
        yield (
            f"{name}.avsc differs from its released version {newest}, which must not change: "
            f"restore it, or make a new version with `python -m services schemas next {name}`."
        )
        # Report what the change would break as a next version, too.
        earlier = {**_select_earlier(texts, newest), newest: _read_text(released)}
        yield from _describe_incompatibilities(name, newest + 1, level, texts[newest], earlier)
        return
    for number, text in texts.items():
        yield from _describe_incompatibilities(name, number, level, text, _select_earlier(texts, number))


def _describe_incompatibilities(
    name: str, number: int, level: CompatibilityLevel, text: str, earlier: Mapping[int, str]
) -> Iterator[str]:
    try:
        reasons = incompatibilities(level, text, earlier)
    except InvalidSchemaError as error:
        reasons = [str(error)]
    for reason in reasons:
        yield f"Version {number} of {name}.avsc must be {level} with all earlier versions, but {reason}."


def _select_earlier(texts: Mapping[int, str], number: int) -> dict[int, str]:
    return {other: text for other, text in texts.items() if other < number}


def _read_text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def release(directory: Path) -> list[str]:
    """Freeze the current version of every schema and return the new ones; raises ValueError on a violation."""
    if sentences := find_violations(directory):
        raise ValueError("\n".join(sentences))
    released = []
    for name, versions in Schemas.load(directory).versions.items():
        path = released_path(directory, name, max(versions))
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_read_text(directory / f"{name}.avsc"), encoding="utf-8")
            released.append(f"{name} {max(versions)}")
    return sorted(released)


def add_version(directory: Path, name: str) -> tuple[int, int]:
    """Make `<name>.avsc` a new version after its released one; return its number and its schema id."""
    ids: dict[str, dict[str, int]] = json.loads(_read_text(directory / _IDS_FILE))
    if name not in ids:
        raise ValueError(f"unknown schema {name}")
    newest = max(map(int, ids[name]))
    if not released_path(directory, name, newest).is_file():
        raise ValueError(f"version {newest} of {name} is not released yet and may still be changed")
    schema_id = 1 + max(schema_id for versions in ids.values() for schema_id in versions.values())
    ids[name][str(newest + 1)] = schema_id
    (directory / _IDS_FILE).write_text(json.dumps(ids, indent=2) + "\n", encoding="utf-8")
    return newest + 1, schema_id
