"""The hand-written OpenAPI documents, and what each says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

DIRECTORY = Path(__file__).resolve().parents[2] / "schemas" / "openapi"
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
NAMES = sorted(path.stem for path in DIRECTORY.glob("*.yaml"))


class Operation(NamedTuple):
    """One method at one address."""

    method: str
    path: str


def read(name: str) -> Any:
    """A document, by the stem of its file."""
    return yaml.safe_load((DIRECTORY / f"{name}.yaml").read_text(encoding="utf-8"))


def operations(document: Any) -> dict[Operation, Any]:
    """All operations of a document."""
    return {
        Operation(method.upper(), path): item[method]
        for path, item in document["paths"].items()
        for method in METHODS
        if method in item
    }


def resolved(document: Any, node: Any) -> Any:
    """What a reference stands for; anything else is itself."""
    while isinstance(node, dict) and "$ref" in node:
        target = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part.replace("~1", "/").replace("~0", "~")]
        node = target
    return node


def contents(document: Any) -> Iterator[tuple[str, Any]]:
    """Every body that any operation takes or gives: where, and its media type object."""
    for operation, said in operations(document).items():
        where = f"{operation.method} {operation.path}"
        bodies = {"request": resolved(document, said.get("requestBody", {}))}
        bodies |= {status: resolved(document, answer) for status, answer in said["responses"].items()}
        for place, body in bodies.items():
            for media in body.get("content", {}).values():
                yield f"{where} {place}", media


def examples(document: Any) -> Iterator[tuple[str, Any, Any]]:
    """Every example of a body: where, its schema, its value."""
    for where, media in contents(document):
        if "example" in media:
            yield where, media.get("schema", {}), media["example"]
        for name, example in media.get("examples", {}).items():
            yield f"{where} {name}", media.get("schema", {}), resolved(document, example)["value"]
