"""OpenAPI documents as pages show them: operations by tag, with parameters, bodies and responses."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from services.portal.domain.openapi_schemas import FieldRow, Resolver, describe_type, list_fields

METHODS = ("get", "post", "put", "patch", "delete")
# They hold client secrets, which the portal takes at its sign-in only.
_FORM = "application/x-www-form-urlencoded"
VALIDATE_ONLY = "validateOnly"


class Parameter(Struct, frozen=True, kw_only=True):
    """A parameter; `place` is `path`, `query` or `header`."""

    name: str
    place: str
    is_required: bool
    type: str
    description: str
    example: str = ""
    choices: Sequence[str] = ()


class Example(Struct, frozen=True, kw_only=True):
    """A body to begin with."""

    name: str
    text: str


class Body(Struct, frozen=True, kw_only=True):
    """The body of a request or a response."""

    media_type: str
    type: str
    description: str = ""
    fields: Sequence[FieldRow] = ()
    examples: Sequence[Example] = ()


class ResponseText(Struct, frozen=True, kw_only=True):
    """One response of an operation; its headers are name and description."""

    status: str
    description: str
    headers: Sequence[tuple[str, str]]
    bodies: Sequence[Body]


class Operation(Struct, frozen=True, kw_only=True):
    """One operation."""

    id: str
    method: str
    path: str
    summary: str
    description: str
    is_public: bool
    parameters: Sequence[Parameter]
    bodies: Sequence[Body]
    responses: Sequence[ResponseText]

    @property
    def body(self) -> Body | None:
        """The body that the portal sends: JSON, if the operation takes it."""
        return next((body for body in self.bodies if body.media_type == "application/json"), None)

    @property
    def is_read(self) -> bool:
        """Whether it changes nothing."""
        return self.method == "GET"

    @property
    def has_dry_run(self) -> bool:
        """Whether it changes nothing with `validateOnly`."""
        return not self.is_read and any(each.name == VALIDATE_ONLY for each in self.parameters)

    @property
    def takes_credentials(self) -> bool:
        """Whether its body is a form of credentials or tokens."""
        return any(body.media_type == _FORM for body in self.bodies)


class Tag(Struct, frozen=True, kw_only=True):
    """Operations that belong together."""

    name: str
    description: str
    operations: Sequence[Operation]


class ApiDocument(Struct, frozen=True, kw_only=True):
    """A document; `name` is that of the portal's address."""

    name: str
    title: str
    summary: str
    description: str
    tags: Sequence[Tag]

    @property
    def operations(self) -> list[Operation]:
        """All operations, in the document's order within each tag."""
        return [operation for tag in self.tags for operation in tag.operations]

    def find(self, operation_id: str) -> Operation | None:
        """Return an operation."""
        return next((each for each in self.operations if each.id == operation_id), None)


def parse_document(name: str, raw: Mapping[str, Any]) -> ApiDocument:
    """Return a document; raises `KeyError`, `TypeError` or `ValueError` for one that is not valid."""
    resolver = Resolver(raw)
    info = raw["info"]
    description = str(info.get("description", ""))
    by_tag: dict[str, list[Operation]] = {str(tag["name"]): [] for tag in raw.get("tags", ())}
    for tag, operation in _operations(raw, resolver):
        by_tag.setdefault(tag, []).append(operation)
    texts = {str(tag["name"]): str(tag.get("description", "")) for tag in raw.get("tags", ())}
    return ApiDocument(
        name=name,
        title=str(info["title"]),
        summary=str(info.get("summary", "")) or _first_sentence(description),
        description=description,
        tags=[
            Tag(name=tag, description=texts.get(tag, ""), operations=operations)
            for tag, operations in by_tag.items()
            if operations
        ],
    )


def _operations(raw: Mapping[str, Any], resolver: Resolver) -> Iterator[tuple[str, Operation]]:
    for path, item in raw["paths"].items():
        for method in METHODS:
            if (operation := item.get(method)) is not None:
                shared = item.get("parameters", ())
                security = operation.get("security", raw.get("security", ()))
                tag = str((operation.get("tags") or ["other"])[0])
                yield tag, _operation(path, method, operation, shared, security=security, resolver=resolver)


def _operation(
    path: str,
    method: str,
    operation: Mapping[str, Any],
    shared: Sequence[Any],
    *,
    security: Sequence[Any],
    resolver: Resolver,
) -> Operation:
    return Operation(
        id=str(operation["operationId"]),
        method=method.upper(),
        path=str(path),
        summary=str(operation.get("summary", "")),
        description=str(operation.get("description", "")),
        is_public=not security,
        parameters=[
            _parameter(resolver.resolve(each), resolver) for each in (*shared, *operation.get("parameters", ()))
        ],
        bodies=_bodies(resolver.resolve(operation.get("requestBody", {})), resolver),
        responses=[
            _response(str(status), resolver.resolve(response), resolver)
            for status, response in operation.get("responses", {}).items()
        ],
    )


def _parameter(raw: Mapping[str, Any], resolver: Resolver) -> Parameter:
    schema = resolver.resolve(raw.get("schema", {}))
    examples = [raw.get("example"), schema.get("default"), *schema.get("examples", ())]
    return Parameter(
        name=str(raw["name"]),
        place=str(raw["in"]),
        is_required=bool(raw.get("required", False)),
        type=describe_type(schema, resolver),
        description=str(raw.get("description", "")),
        example=next((_scalar(each) for each in examples if each is not None), ""),
        choices=[_scalar(each) for each in schema.get("enum", ()) if each is not None],
    )


def _bodies(raw: Mapping[str, Any], resolver: Resolver) -> list[Body]:
    return [
        Body(
            media_type=str(media_type),
            type=describe_type(content.get("schema", {}), resolver),
            description=str(raw.get("description", "")),
            fields=list_fields(content.get("schema", {}), resolver),
            examples=list(_examples(content, resolver)),
        )
        for media_type, content in raw.get("content", {}).items()
    ]


def _examples(content: Mapping[str, Any], resolver: Resolver) -> Iterator[Example]:
    if "example" in content:
        yield Example(name="Example", text=to_text(content["example"]))
    for name, raw in content.get("examples", {}).items():
        example = resolver.resolve(raw)
        yield Example(name=str(example.get("summary", name)).rstrip("."), text=to_text(example["value"]))
    schema = resolver.resolve(content.get("schema", {}))
    for number, value in enumerate(schema.get("examples", ()), 1):
        yield Example(name=f"Example {number}", text=to_text(value))


def _response(status: str, raw: Mapping[str, Any], resolver: Resolver) -> ResponseText:
    headers = [
        (str(name), str(resolver.resolve(header).get("description", "")))
        for name, header in raw.get("headers", {}).items()
    ]
    bodies = _bodies({"content": raw.get("content", {})}, resolver)
    return ResponseText(status=status, description=str(raw.get("description", "")), headers=headers, bodies=bodies)


def to_text(value: object) -> str:
    """Return an example as indented JSON; text that is no JSON stays as it is."""
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False, default=str)


def _scalar(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _first_sentence(text: str) -> str:
    paragraph = " ".join(text.split("\n\n", 1)[0].split())
    return paragraph.split(". ", 1)[0].rstrip(".") + "." if paragraph else ""
