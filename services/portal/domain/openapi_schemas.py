"""JSON schemas of OpenAPI documents, as rows of a table: a field, its type, what it means."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

# Fields of fields of fields: deeper ones are seldom, and their schema is in the document.
MAX_DEPTH = 3
MAX_REFERENCES = 20


class FieldRow(Struct, frozen=True, kw_only=True):
    """A field; `depth` says below which row it belongs."""

    name: str
    type: str
    is_required: bool
    description: str
    depth: int


class Resolver:
    """Follows references within a document."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def resolve(self, value: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what a reference leads to; raises `KeyError` if that is nothing, and `ValueError` in a circle."""
        for _ in range(MAX_REFERENCES):
            reference = value.get("$ref")
            if reference is None:
                return value
            value = self._follow(str(reference))
        raise ValueError("references lead in a circle")

    def _follow(self, reference: str) -> Mapping[str, Any]:
        if not reference.startswith("#/"):
            raise ValueError("a reference leads out of the document")
        found: Any = self._document
        for part in reference[2:].split("/"):
            found = found[part.replace("~1", "/").replace("~0", "~")]
        if not isinstance(found, Mapping):
            raise TypeError("a reference leads to no object")
        return found


def describe_type(schema: Mapping[str, Any], resolver: Resolver, depth: int = 0) -> str:
    """Return a type in a few words."""
    schema = resolver.resolve(schema)
    if "const" in schema:
        return f"always {schema['const']}"
    if "enum" in schema:
        return " | ".join("null" if each is None else str(each) for each in schema["enum"])
    alternatives = [*schema.get("oneOf", ()), *schema.get("anyOf", ())]
    if alternatives and depth < MAX_DEPTH:
        return " or ".join(dict.fromkeys(describe_type(each, resolver, depth + 1) for each in alternatives))
    types = schema.get("type", "object" if "properties" in schema or "allOf" in schema else "any")
    names = [types] if isinstance(types, str) else list(types)
    shown = [_describe_one(name, schema, resolver, depth) for name in names]
    return " or ".join(shown) + _describe_bounds(schema)


def _describe_one(name: str, schema: Mapping[str, Any], resolver: Resolver, depth: int) -> str:
    if name == "array" and "items" in schema and depth < MAX_DEPTH:
        return f"array of {describe_type(schema['items'], resolver, depth + 1)}"
    return f"{name} ({schema['format']})" if name == "string" and "format" in schema else str(name)


_BOUNDS = (
    ("minimum", "at least {}"),
    ("maximum", "at most {}"),
    ("maxLength", "at most {} characters"),
    ("maxItems", "at most {} items"),
)


def _describe_bounds(schema: Mapping[str, Any]) -> str:
    bounds = [text.format(f"{schema[name]:,}") for name, text in _BOUNDS if isinstance(schema.get(name), int)]
    if schema.get("default") is not None:
        bounds.append(
            f"default {str(schema['default']).lower() if schema['default'] in (True, False) else schema['default']}"
        )
    return "".join(f", {each}" for each in bounds)


def list_fields(schema: Mapping[str, Any], resolver: Resolver) -> Sequence[FieldRow]:
    """Return the fields of an object, or of an array's objects, with those of nested ones."""
    return list(_fields(schema, resolver, 0))


def _fields(schema: Mapping[str, Any], resolver: Resolver, depth: int) -> Iterator[FieldRow]:
    if depth > MAX_DEPTH:
        return
    objects = list(_objects(schema, resolver, 0))
    seen: set[str] = set()
    required = {name for each in objects for name in each.get("required", ())}
    for each in objects:
        for name, raw in each.get("properties", {}).items():
            if name in seen:
                continue
            seen.add(name)
            field = resolver.resolve(raw)
            yield FieldRow(
                name=str(name),
                type=describe_type(field, resolver),
                is_required=name in required,
                description=str(raw.get("description") or field.get("description") or ""),
                depth=depth,
            )
            yield from _fields(field, resolver, depth + 1)


def _objects(schema: Mapping[str, Any], resolver: Resolver, depth: int) -> Iterator[Mapping[str, Any]]:
    """Yield the objects whose fields a value may have; of several alternatives that are objects, the first."""
    schema = resolver.resolve(schema)
    if depth > MAX_DEPTH:
        return
    yield schema
    for part in schema.get("allOf", ()):
        yield from _objects(part, resolver, depth + 1)
    for part in (*schema.get("oneOf", ()), *schema.get("anyOf", ())):
        found = list(_objects(part, resolver, depth + 1))
        if any("properties" in each for each in found):
            yield from found
            break
    if "items" in schema:
        yield from _objects(schema["items"], resolver, depth + 1)
