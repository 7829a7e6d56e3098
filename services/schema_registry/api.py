"""Confluent's schema registry API, read-only: what its clients need to read and write our topics.

Clients that register schemas before they write (the default) are given the id of our schema if theirs has the same
canonical form, and an error otherwise.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from aiohttp import web

from services.chassis.avro.compatibility import InvalidSchemaError, incompatibilities
from services.chassis.avro.schemas import Schema, Schemas
from services.chassis.http import responses as http
from services.chassis.http.rate_limit import RateLimit
from services.chassis.http.request_body import read_bounded
from services.chassis.http.source_address import Networks, get_source_address
from services.chassis.runtime.errors import Problem
from services.schema_registry.comparisons import Comparisons
from services.schema_registry.subjects import RegistryError, Subjects, require_schema, subjects_of
from services.topics import SCHEMA_BY_SUBJECT, compatibility_level
from services.values.strict_json import JsonSyntaxError, parse

BASE = "/registry"
CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
# More than three times the longest of our schemas.
MAX_SCHEMA_LENGTH = 32 * 1024
# A schema is JSON within a JSON string: its quotation marks are escaped.
MAX_BODY_BYTES = 4 * MAX_SCHEMA_LENGTH
BODY_TIMEOUT_S = 10.0
# Schemas that one client may send: a producer sends each of its schemas once, when it starts.
MAX_SCHEMAS_PER_WINDOW = 30
WINDOW_S = 10.0
READ_ONLY = {"mode": "READONLY"}


@dataclass(frozen=True, slots=True)
class Deps:
    """What the handlers use."""

    subjects: Subjects
    proxies: Networks
    comparisons: Comparisons = field(default_factory=Comparisons)
    rate_limit: RateLimit = field(default_factory=lambda: RateLimit(window_s=WINDOW_S))


# All return the body of the response, or raise `RegistryError`. A lookup gets the parameters of path and query.
Lookup = Callable[[Subjects, Mapping[str, str]], object]
Handler = Callable[[Deps, web.Request], Awaitable[object]]


def registry_routes(schemas: Schemas, *, proxies: Networks) -> list[web.RouteDef]:
    """Return the routes that serve these schemas. The `proxies` are trusted to name a client's address."""
    deps = Deps(Subjects(schemas), proxies)
    return [
        *(web.get(BASE + path, partial(_respond, partial(_answer, lookup), deps)) for path, lookup in LOOKUPS.items()),
        *(web.post(BASE + path, partial(_respond, handler, deps)) for path, handler in POST_ROUTES.items()),
        web.route("*", BASE + "/{rest:.*}", partial(_respond, _refuse, deps)),
    ]


async def _respond(handler: Handler, deps: Deps, request: web.Request) -> web.Response:
    try:
        return http.json_response(await handler(deps, request), content_type=CONTENT_TYPE)
    except RegistryError as error:
        body = {"error_code": error.code, "message": str(error)}
        return http.json_response(body, status=error.status, headers=error.headers, content_type=CONTENT_TYPE)


async def _answer(lookup: Lookup, deps: Deps, request: web.Request) -> object:
    return lookup(deps.subjects, {**request.query, **request.match_info})


def _get_versions_of_schema(subjects: Subjects, parameters: Mapping[str, str]) -> object:
    version = subjects.by_id(parameters["id"])
    return [{"subject": subject, "version": version.number} for subject in subjects_of(version)]


def _get_subject_config(subjects: Subjects, parameters: Mapping[str, str]) -> object:
    subjects.versions(parameters["subject"])
    return {"compatibilityLevel": str(compatibility_level(SCHEMA_BY_SUBJECT[parameters["subject"]]))}


def _get_subject_mode(subjects: Subjects, parameters: Mapping[str, str]) -> object:
    subjects.versions(parameters["subject"])
    return READ_ONLY


async def _look_up(deps: Deps, request: web.Request) -> object:
    subject = request.match_info["subject"]
    deps.subjects.versions(subject)
    return _describe(require_schema(await _find(deps, request, subject)), subject)


async def _register(deps: Deps, request: web.Request) -> object:
    subject = request.match_info["subject"]
    read_only = f"Subject {subject} is in read-only mode"
    if subject not in deps.subjects:
        raise RegistryError(422, 42205, read_only)
    version = await _find(deps, request, subject)
    if version is None:
        hint = "set auto.register.schemas=false and use.latest.version=true"
        raise RegistryError(422, 42205, f"{read_only}, and this schema is not one of its versions: {hint}")
    return _describe(version, subject)


async def _find(deps: Deps, request: web.Request, subject: str) -> Schema | None:
    schema = await _read_schema(deps, request)
    return await deps.comparisons.run(lambda: deps.subjects.find(subject, schema))


async def _check_compatibility(deps: Deps, request: web.Request) -> object:
    subject = request.match_info["subject"]
    versions = deps.subjects.versions(subject)
    if "version" in request.match_info:
        version = deps.subjects.version(subject, request.match_info["version"])
        versions = {version.number: version}
    schema = await _read_schema(deps, request)
    level = compatibility_level(SCHEMA_BY_SUBJECT[subject])
    texts = {number: old.text for number, old in versions.items()}
    try:
        messages = await deps.comparisons.run(lambda: incompatibilities(level, schema, texts))
    except InvalidSchemaError as error:
        raise RegistryError(422, 42201, f"Invalid schema: {error}") from None
    is_verbose = request.query.get("verbose", "").lower() == "true"
    return {"is_compatible": not messages, **({"messages": messages} if is_verbose else {})}


async def _refuse(_deps: Deps, request: web.Request) -> object:
    # New clients probe for more routes, and accept a 404.
    if request.method in {"PUT", "DELETE"} and not request.path.startswith(f"{BASE}/associations"):
        raise RegistryError(422, 42205, "The registry is in read-only mode")
    raise RegistryError(404, 404, "HTTP 404 Not Found")


LOOKUPS: Mapping[str, Lookup] = {
    "": lambda _subjects, _: {},
    "/": lambda _subjects, _: {},
    "/subjects": lambda subjects, p: subjects.names(prefix=p.get("subjectPrefix", "")),
    "/subjects/{subject}/versions": lambda subjects, p: list(subjects.versions(p["subject"])),
    "/subjects/{subject}/versions/{version}": lambda subjects, p: _describe(
        subjects.version(p["subject"], p["version"]), p["subject"]
    ),
    "/subjects/{subject}/versions/{version}/schema": lambda subjects, p: (
        subjects.version(p["subject"], p["version"]).definition
    ),
    "/schemas/types": lambda _subjects, _: ["AVRO"],
    "/schemas/ids/{id}": lambda subjects, p: _schema_and_guid(subjects.by_id(p["id"])),
    "/schemas/ids/{id}/subjects": lambda subjects, p: subjects_of(subjects.by_id(p["id"])),
    "/schemas/ids/{id}/versions": _get_versions_of_schema,
    "/schemas/guids/{guid}": lambda subjects, p: _schema_and_guid(subjects.by_guid(p["guid"])),
    "/config": lambda _subjects, _: {"compatibilityLevel": "FULL_TRANSITIVE"},
    "/config/{subject}": _get_subject_config,
    "/mode": lambda _subjects, _: READ_ONLY,
    "/mode/{subject}": _get_subject_mode,
}
POST_ROUTES: Mapping[str, Handler] = {
    "/subjects/{subject}": _look_up,
    "/subjects/{subject}/versions": _register,
    "/compatibility/subjects/{subject}/versions": _check_compatibility,
    "/compatibility/subjects/{subject}/versions/{version}": _check_compatibility,
}


async def _read_schema(deps: Deps, request: web.Request) -> str:
    decision = deps.rate_limit.acquire(get_source_address(request, deps.proxies), limit=MAX_SCHEMAS_PER_WINDOW)
    if not decision.allowed:
        detail = f"a client may send at most {MAX_SCHEMAS_PER_WINDOW} schemas in any {WINDOW_S:g} s"
        raise RegistryError(429, 429, detail, retry_after_s=decision.retry_after_s)
    try:
        data = await read_bounded(request, max_bytes=MAX_BODY_BYTES, timeout_s=BODY_TIMEOUT_S)
    except Problem as problem:
        raise RegistryError(problem.status, problem.status, problem.detail) from None
    try:
        body = parse(data)
        schema, schema_type = body["schema"], body.get("schemaType") or "AVRO"
    except (JsonSyntaxError, TypeError, KeyError, AttributeError):
        raise RegistryError(422, 42201, "Invalid schema: the body must be a JSON object with a schema") from None
    if (
        schema_type != "AVRO"
        or not isinstance(schema, str)
        or len(schema) > MAX_SCHEMA_LENGTH
        or body.get("references")
    ):
        raise RegistryError(422, 42201, "Invalid schema: only Avro schemas without references are supported")
    return schema


def _describe(version: Schema, subject: str) -> dict[str, Any]:
    return {
        "subject": subject,
        "version": version.number,
        "id": version.schema_id,
        "guid": str(version.global_id),
        "schemaType": "AVRO",
        "schema": version.text,
    }


def _schema_and_guid(version: Schema) -> dict[str, str]:
    return {"schema": version.text, "guid": str(version.global_id)}
