"""The schemas, as Confluent's registry serves them: enough for its clients to read and write our topics.

Nothing can be registered here. A client that registers a schema before it writes (the default) is given the id of ours
if its schema is ours, sentences and order of attributes aside, and is refused otherwise.
"""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

import msgspec
from aiohttp import web

from services.chassis.avro.compatibility import InvalidSchemaError, canonical_form, incompatibilities
from services.chassis.avro.schemas import Schemas, SchemaVersion
from services.chassis.http import server as http
from services.topics import SCHEMA_BY_SUBJECT, compatibility_level

BASE = "/registry"
CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
# Ours take less than a sixth of it.
MAX_SCHEMA_LENGTH = 64 * 1024
BODY_TIMEOUT_S = 10.0
_LATEST = frozenset({"latest", "-1"})


class RegistryApi:
    """Handlers of the registry; `routes` binds them to their addresses."""

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas
        self._subjects = {
            subject: schemas.versions[name] for subject, name in SCHEMA_BY_SUBJECT.items() if name in schemas
        }
        self._forms = {name: _forms(versions) for name, versions in schemas.versions.items()}

    def routes(self) -> list[web.RouteDef]:
        """Every address of the registry."""
        subject, schema = "/subjects/{subject}", "/schemas/ids/{id}"
        checked = "/compatibility/subjects/{subject}/versions"
        asked: list[tuple[str, http.Handler]] = [
            ("", self.root),
            ("/", self.root),
            ("/subjects", self.subjects),
            (f"{subject}/versions", self.versions),
            (f"{subject}/versions/{{version}}", self.version),
            (f"{subject}/versions/{{version}}/schema", self.version_text),
            ("/schemas/types", self.types),
            (schema, self.by_id),
            (f"{schema}/subjects", self.subjects_of_id),
            (f"{schema}/versions", self.versions_of_id),
            ("/schemas/guids/{guid}", self.by_global_id),
            ("/config", self.config),
            ("/config/{subject}", self.config),
            ("/mode", self.mode),
            ("/mode/{subject}", self.mode),
        ]
        told: list[tuple[str, http.Handler]] = [
            (subject, self.look_up),
            (f"{subject}/versions", self.register),
            (checked, self.check),
            (f"{checked}/{{version}}", self.check),
        ]
        return [
            *(web.get(BASE + path, _confluent_errors(handler)) for path, handler in asked),
            *(web.post(BASE + path, _confluent_errors(handler)) for path, handler in told),
            web.route("*", BASE + "/{rest:.*}", _confluent_errors(self.not_found)),
        ]

    async def root(self, _: web.Request) -> web.Response:
        """Something to find at the root."""
        return _answer({})

    async def subjects(self, request: web.Request) -> web.Response:
        """All names, or those with a prefix."""
        prefix = request.query.get("subjectPrefix", "")
        return _answer(sorted(subject for subject in self._subjects if subject.startswith(prefix)))

    async def versions(self, request: web.Request) -> web.Response:
        """The numbers of a subject's versions."""
        return _answer(list(self._versions(request)))

    async def version(self, request: web.Request) -> web.Response:
        """One version, or the latest."""
        return _answer(_described(self._version(request), request.match_info["subject"]))

    async def version_text(self, request: web.Request) -> web.Response:
        """The schema alone."""
        return _answer(self._version(request).definition)

    async def by_id(self, request: web.Request) -> web.Response:
        """The schema that a value names in its first bytes."""
        version = self._by_id(request)
        return _answer({"schema": version.text, "guid": str(version.global_id)})

    async def by_global_id(self, request: web.Request) -> web.Response:
        """The schema that a value names in a header."""
        try:
            version = self._schemas.by_id(UUID(request.match_info["guid"]))
        except ValueError:
            version = None
        if version is None:
            raise RegistryError(404, 40403, "Schema not found")
        return _answer({"schema": version.text, "guid": str(version.global_id)})

    async def subjects_of_id(self, request: web.Request) -> web.Response:
        """The names under which a schema is kept."""
        return _answer(list(self._subjects_of(self._by_id(request))))

    async def versions_of_id(self, request: web.Request) -> web.Response:
        """Likewise, with the version's number under each."""
        version = self._by_id(request)
        return _answer([{"subject": name, "version": version.number} for name in self._subjects_of(version)])

    async def look_up(self, request: web.Request) -> web.Response:
        """The version of a subject that a schema is."""
        self._versions(request)
        version = await self._same(request)
        if version is None:
            raise RegistryError(404, 40403, "Schema not found")
        return _answer(_described(version, request.match_info["subject"]))

    async def register(self, request: web.Request) -> web.Response:
        """The same for a client that means to register it; a schema that is not ours is refused."""
        subject = request.match_info["subject"]
        if subject not in self._subjects:
            raise RegistryError(422, 42205, f"Subject {subject} is in read-only mode")
        version = await self._same(request)
        if version is None:
            raise RegistryError(
                422,
                42205,
                f"Subject {subject} is in read-only mode, and this schema is none of its versions: "
                "set auto.register.schemas=false and use.latest.version=true",
            )
        return _answer(_described(version, subject))

    async def check(self, request: web.Request) -> web.Response:
        """Whether a schema might become the next version."""
        versions = self._versions(request)
        if "version" in request.match_info:
            version = self._version(request)
            versions = {version.number: version}
        name = SCHEMA_BY_SUBJECT[request.match_info["subject"]]
        text = await _schema_in(request)
        try:
            found = incompatibilities(
                compatibility_level(name), text, {number: version.text for number, version in versions.items()}
            )
        except InvalidSchemaError as error:
            raise RegistryError(422, 42201, f"Invalid schema: {error}") from None
        told = {"messages": found} if request.query.get("verbose", "").lower() == "true" else {}
        return _answer({"is_compatible": not found, **told})

    async def config(self, request: web.Request) -> web.Response:
        """How versions must agree, in general or of one subject."""
        subject = request.match_info.get("subject")
        if subject is None:
            return _answer({"compatibilityLevel": "FULL_TRANSITIVE"})
        self._versions(request)
        return _answer({"compatibilityLevel": str(compatibility_level(SCHEMA_BY_SUBJECT[subject]))})

    async def mode(self, request: web.Request) -> web.Response:
        """Nothing can be written here."""
        if "subject" in request.match_info:
            self._versions(request)
        return _answer({"mode": "READONLY"})

    async def types(self, _: web.Request) -> web.Response:
        """The kinds of schemas."""
        return _answer(["AVRO"])

    async def not_found(self, request: web.Request) -> web.Response:
        """Whatever else a registry may have: new clients look for more, and take a 404 for an answer."""
        if request.method in {"PUT", "DELETE"} and not request.path.startswith(f"{BASE}/associations"):
            raise RegistryError(422, 42205, "The registry is in read-only mode")
        raise RegistryError(404, 404, "HTTP 404 Not Found")

    def _versions(self, request: web.Request) -> Mapping[int, SchemaVersion]:
        subject = request.match_info["subject"]
        if subject not in self._subjects:
            raise RegistryError(404, 40401, f"Subject '{subject}' not found.")
        return self._subjects[subject]

    def _version(self, request: web.Request) -> SchemaVersion:
        versions, wanted = self._versions(request), request.match_info["version"]
        if wanted in _LATEST:
            return versions[max(versions)]
        number = _number(wanted)
        if not number:
            raise RegistryError(422, 42202, "The specified version is not a valid version id")
        if number not in versions:
            raise RegistryError(404, 40402, f"Version {number} not found.")
        return versions[number]

    def _by_id(self, request: web.Request) -> SchemaVersion:
        number = _number(request.match_info["id"])
        version = None if number is None else self._schemas.by_id(number)
        if version is None:
            raise RegistryError(404, 40403, "Schema not found")
        return version

    def _subjects_of(self, version: SchemaVersion) -> Iterator[str]:
        return (subject for subject, name in SCHEMA_BY_SUBJECT.items() if name == version.name)

    async def _same(self, request: web.Request) -> SchemaVersion | None:
        """The version of the request's subject that is the schema in its body; None if there is none."""
        forms = self._forms[SCHEMA_BY_SUBJECT[request.match_info["subject"]]]
        try:
            return forms.get(canonical_form(await _schema_in(request)))
        except InvalidSchemaError as error:
            raise RegistryError(422, 42201, f"Invalid schema: {error}") from None


class RegistryError(Exception):
    """An error in the registry's own words; its clients expect no others."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def _confluent_errors(handler: http.Handler) -> http.Handler:
    async def answering(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except RegistryError as refused:
            body = {"error_code": refused.code, "message": str(refused)}
            return http.json_response(body, status=refused.status, content_type=CONTENT_TYPE)

    return answering


def _forms(versions: Mapping[int, SchemaVersion]) -> dict[str, SchemaVersion]:
    return {canonical_form(version.text): version for version in versions.values()}


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else None


async def _schema_in(request: web.Request) -> str:
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            sent = await request.read()
    except TimeoutError:
        raise RegistryError(408, 408, "HTTP 408 Request Timeout") from None
    try:
        body = msgspec.json.decode(sent)
        schema, kind = body["schema"], body.get("schemaType") or "AVRO"
    except (msgspec.DecodeError, TypeError, KeyError, AttributeError, RecursionError):
        raise RegistryError(422, 42201, "Invalid schema: a JSON object with a schema is expected") from None
    if kind != "AVRO" or not isinstance(schema, str) or len(schema) > MAX_SCHEMA_LENGTH or body.get("references"):
        raise RegistryError(422, 42201, "Invalid schema: only Avro schemas without references are kept here")
    return schema


def _described(version: SchemaVersion, subject: str) -> dict[str, Any]:
    return {
        "subject": subject,
        "version": version.number,
        "id": version.schema_id,
        "guid": str(version.global_id),
        "schemaType": "AVRO",
        "schema": version.text,
    }


def _answer(body: object) -> web.Response:
    return http.json_response(body, content_type=CONTENT_TYPE)
