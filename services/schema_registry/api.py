"""Confluent's schema registry API, read-only: what its clients need to read and write our topics.

Clients that register schemas before they write (the default) are given the id of our schema if theirs has the same
canonical form, and an error otherwise.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import msgspec
from aiohttp import web

from services.chassis.avro.compatibility import InvalidSchemaError, incompatibilities
from services.chassis.avro.schemas import Schemas, SchemaVersion
from services.chassis.http import server as http
from services.schema_registry.subjects import RegistryError, Subjects, require_schema, subjects_of
from services.topics import SCHEMA_BY_SUBJECT, compatibility_level

BASE = "/registry"
CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
# More than six times the longest of our schemas.
MAX_SCHEMA_LENGTH = 64 * 1024
BODY_TIMEOUT_S = 10.0

# Returns the body of the response; raises `RegistryError`.
Handler = Callable[["RegistryApi", web.Request], Awaitable[object]]


class RegistryApi:
    """Handlers of the registry."""

    def __init__(self, schemas: Schemas) -> None:
        self._subjects = Subjects(schemas)

    def routes(self) -> list[web.RouteDef]:
        """All routes of the registry."""
        return [
            *(web.get(BASE + path, partial(self._respond, handler)) for path, handler in GET_ROUTES.items()),
            *(web.post(BASE + path, partial(self._respond, handler)) for path, handler in POST_ROUTES.items()),
            web.route("*", BASE + "/{rest:.*}", partial(self._respond, RegistryApi.other_route)),
        ]

    async def root(self, _: web.Request) -> object:
        """Return an empty object: clients use it as a health check."""
        return {}

    async def subjects(self, request: web.Request) -> object:
        """Return all subjects, or those with a prefix."""
        return self._subjects.names(prefix=request.query.get("subjectPrefix", ""))

    async def versions(self, request: web.Request) -> object:
        """Return the numbers of a subject's versions."""
        return list(self._subjects.versions(request.match_info["subject"]))

    async def version(self, request: web.Request) -> object:
        """Return one version, or the latest."""
        return _describe(self._version(request), request.match_info["subject"])

    async def version_schema(self, request: web.Request) -> object:
        """Return the schema of one version alone."""
        return self._version(request).definition

    async def schema_types(self, _: web.Request) -> object:
        """Return the supported schema languages."""
        return ["AVRO"]

    async def schema_by_id(self, request: web.Request) -> object:
        """Return the schema with an id."""
        return _schema_and_guid(self._subjects.by_id(request.match_info["id"]))

    async def schema_by_guid(self, request: web.Request) -> object:
        """Return the schema with a GUID."""
        return _schema_and_guid(self._subjects.by_guid(request.match_info["guid"]))

    async def subjects_by_id(self, request: web.Request) -> object:
        """Return the subjects of a schema."""
        return subjects_of(self._subjects.by_id(request.match_info["id"]))

    async def versions_by_id(self, request: web.Request) -> object:
        """Return the subjects of a schema, with its version number in each."""
        version = self._subjects.by_id(request.match_info["id"])
        return [{"subject": subject, "version": version.number} for subject in subjects_of(version)]

    async def config(self, request: web.Request) -> object:
        """Return the default compatibility level, or that of a subject."""
        subject = request.match_info.get("subject")
        if subject is None:
            return {"compatibilityLevel": "FULL_TRANSITIVE"}
        self._subjects.versions(subject)
        return {"compatibilityLevel": str(compatibility_level(SCHEMA_BY_SUBJECT[subject]))}

    async def mode(self, request: web.Request) -> object:
        """Return that the registry, or a subject, is read-only."""
        if "subject" in request.match_info:
            self._subjects.versions(request.match_info["subject"])
        return {"mode": "READONLY"}

    async def look_up(self, request: web.Request) -> object:
        """Return the version of a subject that has the schema in the body."""
        subject = request.match_info["subject"]
        self._subjects.versions(subject)
        return _describe(require_schema(self._subjects.find(subject, await _read_schema(request))), subject)

    async def register(self, request: web.Request) -> object:
        """Return the version of a subject that has the schema in the body; a new schema cannot be registered."""
        subject = request.match_info["subject"]
        read_only = f"Subject {subject} is in read-only mode"
        if subject not in self._subjects:
            raise RegistryError(422, 42205, read_only)
        version = self._subjects.find(subject, await _read_schema(request))
        if version is None:
            hint = "set auto.register.schemas=false and use.latest.version=true"
            raise RegistryError(422, 42205, f"{read_only}, and this schema is not one of its versions: {hint}")
        return _describe(version, subject)

    async def check_compatibility(self, request: web.Request) -> object:
        """Return whether the schema in the body could become the next version of a subject."""
        subject = request.match_info["subject"]
        versions = self._subjects.versions(subject)
        if "version" in request.match_info:
            version = self._version(request)
            versions = {version.number: version}
        schema = await _read_schema(request)
        level = compatibility_level(SCHEMA_BY_SUBJECT[subject])
        try:
            messages = incompatibilities(level, schema, {number: old.text for number, old in versions.items()})
        except InvalidSchemaError as error:
            raise RegistryError(422, 42201, f"Invalid schema: {error}") from None
        is_verbose = request.query.get("verbose", "").lower() == "true"
        return {"is_compatible": not messages, **({"messages": messages} if is_verbose else {})}

    async def other_route(self, request: web.Request) -> object:
        """Refuse every other request. New clients probe for more routes, and accept a 404."""
        if request.method in {"PUT", "DELETE"} and not request.path.startswith(f"{BASE}/associations"):
            raise RegistryError(422, 42205, "The registry is in read-only mode")
        raise RegistryError(404, 404, "HTTP 404 Not Found")

    def _version(self, request: web.Request) -> SchemaVersion:
        return self._subjects.version(request.match_info["subject"], request.match_info["version"])

    async def _respond(self, handler: Handler, request: web.Request) -> web.Response:
        try:
            return http.json_response(await handler(self, request), content_type=CONTENT_TYPE)
        except RegistryError as error:
            body = {"error_code": error.code, "message": str(error)}
            return http.json_response(body, status=error.status, content_type=CONTENT_TYPE)


GET_ROUTES: Mapping[str, Handler] = {
    "": RegistryApi.root,
    "/": RegistryApi.root,
    "/subjects": RegistryApi.subjects,
    "/subjects/{subject}/versions": RegistryApi.versions,
    "/subjects/{subject}/versions/{version}": RegistryApi.version,
    "/subjects/{subject}/versions/{version}/schema": RegistryApi.version_schema,
    "/schemas/types": RegistryApi.schema_types,
    "/schemas/ids/{id}": RegistryApi.schema_by_id,
    "/schemas/ids/{id}/subjects": RegistryApi.subjects_by_id,
    "/schemas/ids/{id}/versions": RegistryApi.versions_by_id,
    "/schemas/guids/{guid}": RegistryApi.schema_by_guid,
    "/config": RegistryApi.config,
    "/config/{subject}": RegistryApi.config,
    "/mode": RegistryApi.mode,
    "/mode/{subject}": RegistryApi.mode,
}
POST_ROUTES: Mapping[str, Handler] = {
    "/subjects/{subject}": RegistryApi.look_up,
    "/subjects/{subject}/versions": RegistryApi.register,
    "/compatibility/subjects/{subject}/versions": RegistryApi.check_compatibility,
    "/compatibility/subjects/{subject}/versions/{version}": RegistryApi.check_compatibility,
}


async def _read_schema(request: web.Request) -> str:
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            data = await request.read()
    except TimeoutError:
        raise RegistryError(408, 408, "HTTP 408 Request Timeout") from None
    try:
        body = msgspec.json.decode(data)
        schema, schema_type = body["schema"], body.get("schemaType") or "AVRO"
    except (msgspec.DecodeError, TypeError, KeyError, AttributeError, RecursionError):
        raise RegistryError(422, 42201, "Invalid schema: the body must be a JSON object with a schema") from None
    if (
        schema_type != "AVRO"
        or not isinstance(schema, str)
        or len(schema) > MAX_SCHEMA_LENGTH
        or body.get("references")
    ):
        raise RegistryError(422, 42201, "Invalid schema: only Avro schemas without references are supported")
    return schema


def _describe(version: SchemaVersion, subject: str) -> dict[str, Any]:
    return {
        "subject": subject,
        "version": version.number,
        "id": version.schema_id,
        "guid": str(version.global_id),
        "schemaType": "AVRO",
        "schema": version.text,
    }


def _schema_and_guid(version: SchemaVersion) -> dict[str, str]:
    return {"schema": version.text, "guid": str(version.global_id)}
