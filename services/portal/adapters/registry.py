"""The schema registry, as customers see it: `/registry` of the gateway."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx2

from services.chassis.avro.record_decoder import DecodedRecord, decode_record
from services.chassis.avro.schemas import Schema, Schemas
from services.chassis.avro.wire_format import HEADER, SchemaReference, UnknownWireFormatError, parse_wire_format
from services.chassis.runtime.errors import UnavailableError
from services.portal.domain.kafka_records import RecordText, SchemaText

_NOT_FOUND = 404


class HttpRegistry:
    """Reads the registry's public API. Every call raises `UnavailableError`."""

    def __init__(self, connect: Callable[..., httpx2.AsyncClient]) -> None:
        """`connect` returns the connections to the APIs."""
        self._connect = connect

    async def schema(self, subject: str) -> SchemaText | None:
        """Return the latest schema of a subject; None if there is no such subject."""
        path = f"/registry/subjects/{quote(subject, safe='')}/versions"
        versions = await self._get(path)
        latest = await self._get(f"{path}/latest")
        if versions is None or latest is None:
            return None
        return SchemaText(
            subject=subject,
            versions=[int(number) for number in versions],
            version=int(latest["version"]),
            schema_id=int(latest["id"]),
            text=json.dumps(json.loads(latest["schema"]), indent=2, ensure_ascii=False),
        )

    async def decode(self, value: bytes, header: bytes | None) -> RecordText | str:
        """Return a record as JSON, or a sentence why it cannot be decoded."""
        headers = () if header is None else ((HEADER, header),)
        try:
            reference, _ = parse_wire_format(value, headers)
        except UnknownWireFormatError as error:
            return f"The wire format is unknown: {error}."
        schemas = await self._find(reference)
        record = decode_record(value, headers, schemas)
        if not isinstance(record, DecodedRecord):
            return record
        return RecordText(schema=record.schema, schema_id=record.schema_id, text=record.text)

    async def _find(self, reference: SchemaReference) -> Schemas:
        """Return the one schema with this id; none if the registry does not know it."""
        kind = "guids" if isinstance(reference, UUID) else "ids"
        found = await self._get(f"/registry/schemas/{kind}/{reference}")
        if found is None:
            return Schemas({}, {})
        definition = json.loads(found["schema"])
        name = str(definition["name"])
        schema_id, guid = (reference, None) if isinstance(reference, int) else (0, reference)
        schema = Schema(name, 1, schema_id, definition, registry_global_id=guid)
        return Schemas({name: schema}, {name: {1: schema}})

    async def _get(self, path: str) -> Any:
        try:
            response = await self._connect().get(path)
        except httpx2.TransportError as error:
            raise UnavailableError("the registry") from error
        if response.status_code == _NOT_FOUND:
            return None
        if response.status_code != 200:
            raise UnavailableError("the registry")
        try:
            return json.loads(response.content)
        except ValueError as error:
            raise UnavailableError("the registry") from error
