"""Load and read the hand-written OpenAPI documents."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

DIRECTORY = Path(__file__).resolve().parents[2] / "schemas" / "openapi"
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
NAMES = sorted(path.stem for path in DIRECTORY.glob("*.yaml"))


class Operation(NamedTuple):
    """A method of a path."""

    method: str
    path: str


def load_document(name: str) -> Any:
    """Load a document by the stem of its file."""
    return yaml.safe_load((DIRECTORY / f"{name}.yaml").read_text(encoding="utf-8"))


def operations(document: Any) -> dict[Operation, Any]:
    """Return all operations of a document."""
    return {
        Operation(method.upper(), path): item[method]
        for path, item in document["paths"].items()
        for method in METHODS
        if method in item
    }


def resolve(document: Any, node: Any) -> Any:
    """Follow references; return anything else unchanged."""
    while isinstance(node, dict) and "$ref" in node:
        target = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part.replace("~1", "/").replace("~0", "~")]
        node = target
    return node


def contents(document: Any) -> Iterator[tuple[str, Any]]:
    """Yield the media type object of every request and response body, with its location."""
    for operation, definition in operations(document).items():
        where = f"{operation.method} {operation.path}"
        bodies = {"request": resolve(document, definition.get("requestBody", {}))}
        bodies |= {status: resolve(document, response) for status, response in definition["responses"].items()}
        for name, body in bodies.items():
            for media in body.get("content", {}).values():
                yield f"{where} {name}", media


def examples(document: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield every example of a body: location, schema, value."""
    for where, media in contents(document):
        if "example" in media:
            yield where, media.get("schema", {}), media["example"]
        for name, example in media.get("examples", {}).items():
            yield f"{where} {name}", media.get("schema", {}), resolve(document, example)["value"]
