"""Guards the schemas: what was released stays as it is, and what comes next must not break a reader."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from services.chassis.avro.compatibility import CompatibilityLevel, InvalidSchemaError, incompatibilities
from services.chassis.avro.schemas import Schemas, released_path
from services.subjects import level_of

_IDS = "ids.json"


def broken(directory: Path) -> list[str]:
    """Every breach, each in a sentence that says which version and why; none is good."""
    try:
        schemas = Schemas.load(directory)
    except (OSError, ValueError) as error:
        return [f"The schemas cannot be read: {error}."]
    return [sentence for name in sorted(schemas) for sentence in _broken(name, schemas, directory)]


def _broken(name: str, schemas: Schemas, directory: Path) -> Iterator[str]:
    level = level_of(name)
    texts = {number: version.text for number, version in schemas.versions[name].items()}
    newest = max(texts)
    released = released_path(directory, name, newest)
    if released.is_file() and json.loads(released.read_text(encoding="utf-8")) != json.loads(texts[newest]):
        yield (
            f"{name}.avsc differs from its version {newest}, which is released and stays as it is: "
            f"restore it, or make a new version of it with `python -m services schemas next {name}`."
        )
        # What it would break as a next version is told, too.
        yield from _obstacles(name, newest + 1, level, texts[newest], {**_olds(texts, newest), newest: _text(released)})
        return
    for number, text in texts.items():
        yield from _obstacles(name, number, level, text, _olds(texts, number))


def _obstacles(name: str, number: int, level: CompatibilityLevel, text: str, olds: Mapping[int, str]) -> Iterator[str]:
    try:
        found = incompatibilities(level, text, olds)
    except InvalidSchemaError as error:
        found = [str(error)]
    for why in found:
        yield f"Version {number} of {name}.avsc must be {level} with all versions before it, but {why}."


def _olds(texts: Mapping[int, str], number: int) -> dict[int, str]:
    return {old: text for old, text in texts.items() if old < number}


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def release(directory: Path) -> list[str]:
    """Keep the current version of every schema for good, unless something is broken; returns what is new."""
    if sentences := broken(directory):
        raise ValueError("\n".join(sentences))
    fresh = []
    for name, versions in Schemas.load(directory).versions.items():
        path = released_path(directory, name, max(versions))
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_text(directory / f"{name}.avsc"), encoding="utf-8")
            fresh.append(f"{name} {max(versions)}")
    return sorted(fresh)


def begin_version(directory: Path, name: str) -> tuple[int, int]:
    """Let `<name>.avsc` be a version of its own, beside its released one; returns its number and its new id."""
    ids: dict[str, dict[str, int]] = json.loads(_text(directory / _IDS))
    if name not in ids:
        raise ValueError(f"there is no schema {name}")
    newest = max(map(int, ids[name]))
    if not released_path(directory, name, newest).is_file():
        raise ValueError(f"version {newest} of {name} is not released yet and may still be changed")
    fresh = 1 + max(schema_id for versions in ids.values() for schema_id in versions.values())
    ids[name][str(newest + 1)] = fresh
    (directory / _IDS).write_text(json.dumps(ids, indent=2) + "\n", encoding="utf-8")
    return newest + 1, fresh
