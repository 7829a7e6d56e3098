"""Requests that readers send from a page: built from the document, and from nothing else."""

import json
import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote, urlencode

from msgspec import Struct

from services.portal.domain.openapi import VALIDATE_ONLY, Operation, Parameter

MAX_VALUE_CHARACTERS = 2_048
MAX_BODY_CHARACTERS = 102_400
# The portal's own, or without meaning for a body that is text.
_UNSENT_HEADERS = frozenset({"authorization", "content-encoding", "content-length", "content-type", "host", "accept"})
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")


class ApiRequest(Struct, frozen=True, kw_only=True):
    """A request without its token. `path` has the query."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: str | None


def editable_parameters(operation: Operation) -> list[Parameter]:
    """Return the parameters that a reader may fill in."""
    return [each for each in operation.parameters if _is_editable(each)]


def _is_editable(parameter: Parameter) -> bool:
    if parameter.place == "header":
        return parameter.name.lower() not in _UNSENT_HEADERS
    return parameter.place in {"path", "query"}


def build_request(operation: Operation, values: Mapping[str, str], body: str) -> ApiRequest | Sequence[str]:
    """Return the request of an operation, or what is wrong with the values, one sentence each."""
    parameters = editable_parameters(operation)
    problems = [problem for each in parameters for problem in _problems(each, values.get(each.name, ""))]
    problems += _body_problems(operation, body)
    if problems:
        return problems
    path = operation.path
    for each in parameters:
        if each.place == "path":
            path = path.replace("{" + each.name + "}", quote(values[each.name], safe=""))
    given = [(each, values[each.name]) for each in parameters if values.get(each.name)]
    query = [(each.name, value) for each, value in given if each.place == "query"]
    has_body = operation.body is not None and bool(body.strip())
    return ApiRequest(
        method=operation.method,
        path=f"{path}?{urlencode(query)}" if query else path,
        headers={each.name: value for each, value in given if each.place == "header"},
        body=body if has_body else None,
    )


def _problems(parameter: Parameter, value: str) -> list[str]:
    name = parameter.name
    if not value:
        return [f"{name} is needed."] if parameter.is_required else []
    if len(value) > MAX_VALUE_CHARACTERS:
        return [f"{name} has more than {MAX_VALUE_CHARACTERS:,} characters."]
    if parameter.place == "path" and value in {".", ".."}:
        return [f"{name} cannot be “{value}”."]
    if parameter.place == "header" and not _HEADER_VALUE.fullmatch(value):
        return [f"{name} may have printable ASCII characters only."]
    if parameter.choices and value not in parameter.choices:
        return [f"{name} is one of {', '.join(parameter.choices)}."]
    return []


def _body_problems(operation: Operation, body: str) -> list[str]:
    if operation.body is None or not body.strip():
        return []
    if len(body) > MAX_BODY_CHARACTERS:
        return [f"The body has more than {MAX_BODY_CHARACTERS:,} characters."]
    try:
        json.loads(body)
    except (ValueError, RecursionError) as error:
        return [f"The body is not JSON: {error}."]
    return []


def changes_data(operation: Operation, values: Mapping[str, str]) -> bool:
    """Whether the request does more than read or check."""
    return not operation.is_read and not (operation.has_dry_run and values.get(VALIDATE_ONLY) == "true")
