"""Client of the Confluent-compatible schema registry at `SCHEMA_REGISTRY_URL`."""

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

_DEPENDENCY = "the schema registry"
_TIMEOUT_S = 5.0
_RETRY_S = 1.0
_CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
_LOG = logger(__name__)


class SchemaRegistryClient:
    """Looks up and registers schemas. Every call raises `UnavailableError` if the registry does not answer."""

    def __init__(self, settings: RegistrySettings) -> None:
        if settings.schema_registry_url is None:
            raise ValueError("SCHEMA_REGISTRY_URL is not set")
        self._url = settings.schema_registry_url.rstrip("/")
        password = settings.schema_registry_password
        self._headers = {"Content-Type": _CONTENT_TYPE, "Accept": f"{_CONTENT_TYPE}, application/json"}
        if settings.schema_registry_username is not None:
            secret = password.get_secret_value() if password else ""
            self._headers["Authorization"] = aiohttp.encode_basic_auth(settings.schema_registry_username, secret)
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Do nothing: the first call connects."""

    async def stop(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def lookup_ids(self, subject: str, text: str) -> RegistryIds | None:
        """Return the ids of a schema under a subject, or None if it is not registered there."""
        status, body = await self._call("POST", f"/subjects/{quote(subject, safe='')}", text)
        if status != 200:
            return None
        return RegistryIds(int(body["id"]), UUID(body["guid"]) if body.get("guid") else None)

    async def register(self, subject: str, text: str) -> int:
        """Register a schema under a subject and return its id; raises `ValueError` with the registry's message."""
        status, body = await self._call("POST", f"/subjects/{quote(subject, safe='')}/versions", text)
        if status != 200:
            raise ValueError(f"{subject}: {body.get('message', f'the registry responded with {status}')}")
        return int(body["id"])

    async def definition(self, schema_id: int) -> Mapping[str, Any] | None:
        """Return the Avro record schema with this id, or None if it does not exist."""
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
            async with self._session.request(method, self._url + path, data=data) as response:
                if response.status >= 500 or response.status in (401, 403, 429):
                    raise UnavailableError(_DEPENDENCY)
                body = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
            raise UnavailableError(_DEPENDENCY) from error
        return response.status, body if isinstance(body, dict) else {}


class UnregisteredSchemaError(ValueError):
    """A required schema is not in the registry."""


async def load_schemas(
    directory: Path, settings: RegistrySettings, subjects: Mapping[str, Sequence[str]], *, wait: bool = True
) -> Schemas:
    """Return the schemas, under the registry's ids if one is configured. `subjects` lists each schema's subjects.

    With `wait`, it retries while the registry is unavailable or lacks a schema: another process must start first.
    """
    schemas = Schemas.load(directory)
    if settings.schema_registry_url is None:
        return schemas
    async with SchemaRegistryClient(settings) as registry:
        while True:
            try:
                return schemas.with_registry_ids(await _lookup_all(registry, schemas, subjects))
            except (UnavailableError, UnregisteredSchemaError) as error:
                if not wait:
                    raise
                _LOG.warning("waiting for schema ids", reason=str(error))
            await asyncio.sleep(_RETRY_S)


async def _lookup_all(
    registry: SchemaRegistryClient, schemas: Schemas, subjects: Mapping[str, Sequence[str]]
) -> dict[tuple[str, int], RegistryIds]:
    ids_by_version: dict[tuple[str, int], RegistryIds] = {}
    for name, versions in schemas.versions.items():
        for number, version in versions.items():
            lookups = [await registry.lookup_ids(subject, version.text) for subject in subjects.get(name, ())]
            ids = {each for each in lookups if each is not None}
            if len({each.schema_id for each in ids}) > 1:
                raise ValueError(f"the schema registry has several ids for version {number} of {name}")
            if ids:
                ids_by_version[name, number] = ids.pop()
            elif number == max(versions) and name in subjects:
                raise UnregisteredSchemaError(
                    f"the schema registry lacks {name}: run `python -m services schemas register`"
                )
    return ids_by_version
