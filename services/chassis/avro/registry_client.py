"""A Confluent-compatible schema registry elsewhere: whatever `SCHEMA_REGISTRY_URL` names."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote
from uuid import UUID

import aiohttp

from services.chassis.avro.schemas import RegistryIds, Schemas
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.logs import logger
from services.chassis.runtime.settings import RegistrySettings

_WHAT = "the schema registry"
_TIMEOUT_S = 5.0
_RETRY_S = 1.0
_CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
_LOG = logger(__name__)


class SchemaRegistryClient:
    """Asks and tells the registry. Every call raises `Away` while it does not answer."""

    def __init__(self, settings: RegistrySettings) -> None:
        if settings.schema_registry_url is None:
            raise ValueError("SCHEMA_REGISTRY_URL names no schema registry")
        self._url = settings.schema_registry_url.rstrip("/")
        password = settings.schema_registry_password
        self._headers = {"Content-Type": _CONTENT_TYPE, "Accept": f"{_CONTENT_TYPE}, application/json"}
        if settings.schema_registry_username is not None:
            secret = password.get_secret_value() if password else ""
            self._headers["Authorization"] = aiohttp.encode_basic_auth(settings.schema_registry_username, secret)
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Nothing is asked yet."""

    async def stop(self) -> None:
        """Close what is open."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def lookup_ids(self, subject: str, text: str) -> RegistryIds | None:
        """The ids of a schema under a subject; None if the registry does not have it there."""
        status, body = await self._call("POST", f"/subjects/{quote(subject, safe='')}", text)
        if status != 200:
            return None
        return RegistryIds(int(body["id"]), UUID(body["guid"]) if body.get("guid") else None)

    async def register(self, subject: str, text: str) -> int:
        """Put a schema under a subject and return its id. Raises ValueError in the registry's words if it refuses."""
        status, body = await self._call("POST", f"/subjects/{quote(subject, safe='')}/versions", text)
        if status != 200:
            raise ValueError(f"{subject}: {body.get('message', f'the registry answers {status}')}")
        return int(body["id"])

    async def definition(self, schema_id: int) -> Mapping[str, Any] | None:
        """The schema that has an id; None if there is no such schema, or it is none of Avro's records."""
        status, body = await self._call("GET", f"/schemas/ids/{schema_id}", None)
        if status != 200 or body.get("schemaType", "AVRO") != "AVRO" or body.get("references"):
            return None
        definition = json.loads(body["schema"])
        return definition if isinstance(definition, dict) and "name" in definition else None

    async def _call(self, method: str, path: str, schema: str | None) -> tuple[int, Mapping[str, Any]]:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers=self._headers, timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S)
            )
        data = None if schema is None else json.dumps({"schema": schema})
        try:
            async with self._session.request(method, self._url + path, data=data) as answer:
                if answer.status >= 500 or answer.status in (401, 403, 429):
                    raise UnavailableError(_WHAT)
                body = await answer.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
            raise UnavailableError(_WHAT) from error
        return answer.status, body if isinstance(body, dict) else {}


class UnregisteredSchemaError(ValueError):
    """A schema that is needed is not in the registry."""


async def load_schemas(
    directory: Path, settings: RegistrySettings, subjects: Mapping[str, Sequence[str]], *, wait: bool = True
) -> Schemas:
    """Our schemas, under the ids that the registry gave them where there is one. `subjects` tells where each is kept.

    Waits for a registry that is away, or that lacks a schema: in both cases somebody else has to start first.
    """
    schemas = Schemas.load(directory)
    if settings.schema_registry_url is None:
        return schemas
    async with SchemaRegistryClient(settings) as registry:
        while True:
            try:
                return schemas.with_registry_ids(await _ids(registry, schemas, subjects))
            except (UnavailableError, UnregisteredSchemaError) as reason:
                if not wait:
                    raise
                _LOG.warning("waiting for schema ids", reason=str(reason))
            await asyncio.sleep(_RETRY_S)


async def _ids(
    registry: SchemaRegistryClient, schemas: Schemas, subjects: Mapping[str, Sequence[str]]
) -> dict[tuple[str, int], RegistryIds]:
    found: dict[tuple[str, int], RegistryIds] = {}
    for name, versions in schemas.versions.items():
        for number, version in versions.items():
            asked = [await registry.lookup_ids(subject, version.text) for subject in subjects.get(name, ())]
            given = {ids for ids in asked if ids is not None}
            if len({ids.schema_id for ids in given}) > 1:
                raise ValueError(f"the schema registry has several ids for version {number} of {name}")
            if given:
                found[name, number] = given.pop()
            elif number == max(versions) and name in subjects:
                raise UnregisteredSchemaError(
                    f"the schema registry lacks {name}: run `python -m services schemas register`"
                )
    return found
