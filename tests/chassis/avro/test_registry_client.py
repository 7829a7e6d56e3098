"""An external schema registry: its ids are looked up."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from aiohttp import encode_basic_auth, web

from services.chassis.avro import registry_client
from services.chassis.avro.registry_client import SchemaRegistryClient, UnregisteredSchemaError, load_schemas
from services.chassis.avro.schemas import RegistryIds, Schemas
from services.chassis.http.server import HttpServer, build_application
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.settings import REPOSITORY, RegistrySettings
from tests.chassis.eventually import until
from tests.support.schema_versions import schemas_with_older_version, without_fields

DIRECTORY = REPOSITORY / "schemas"
SUBJECTS = {
    "order": ["orders.submitted.v1-value", "orders.validated.v1-value"],
    "product": ["catalog.products.v1-value"],
}
FIRST_ID = 100_001


_REFUSALS: dict[int, type[web.HTTPException]] = {
    500: web.HTTPInternalServerError,
    401: web.HTTPUnauthorized,
    403: web.HTTPForbidden,
    429: web.HTTPTooManyRequests,
}


class FakeRegistry:
    """A registry as Confluent's and Karapace are: one id for one text, whatever the subject."""

    def __init__(self) -> None:
        self.ids: dict[str, int] = {}
        self.subjects: dict[str, list[str]] = {}
        self.status: int | None = None
        self.authorization: str | None = None
        # What is answered otherwise than by this kind: by subject, and by id.
        self.found: dict[str, web.Response] = {}
        self.known: dict[int, dict[str, Any]] = {}
        self.hold: asyncio.Event | None = None

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/base/subjects/{subject}", self.look_up),
            web.post("/base/subjects/{subject}/versions", self.register),
            web.get("/base/schemas/ids/{id}", self.by_id),
        ]

    async def look_up(self, request: web.Request) -> web.Response:
        text = await self._text(request)
        if request.match_info["subject"] in self.found:
            return self.found.pop(request.match_info["subject"])
        if text not in self.subjects.get(request.match_info["subject"], []):
            return web.json_response({"error_code": 40403, "message": "Schema not found"}, status=404)
        return web.json_response({"id": self.ids[text], "guid": str(UUID(int=self.ids[text])), "version": 1})

    async def register(self, request: web.Request) -> web.Response:
        text = await self._text(request)
        if "Refused" in text:
            return web.json_response({"error_code": 409, "message": "not compatible"}, status=409)
        self.ids.setdefault(text, FIRST_ID + len(self.ids))
        self.subjects.setdefault(request.match_info["subject"], []).append(text)
        return web.json_response({"id": self.ids[text]})

    async def by_id(self, request: web.Request) -> web.Response:
        if self.hold is not None:
            await self.hold.wait()
        if int(request.match_info["id"]) in self.known:
            return web.json_response(self.known[int(request.match_info["id"])])
        for text, schema_id in self.ids.items():
            if str(schema_id) == request.match_info["id"]:
                return web.json_response({"schema": text})
        return web.json_response({"error_code": 40403, "message": "Schema not found"}, status=404)

    async def _text(self, request: web.Request) -> str:
        self.authorization = request.headers.get("Authorization")
        if self.status is not None:
            raise _REFUSALS[self.status]
        return str((await request.json())["schema"])


@pytest.fixture
def fake_registry() -> FakeRegistry:
    return FakeRegistry()


@pytest.fixture
async def settings(fake_registry: FakeRegistry) -> AsyncIterator[RegistrySettings]:
    listener = HttpServer(build_application(fake_registry.routes()), host="127.0.0.1", port=0)
    await listener.start()
    yield RegistrySettings(
        schema_registry_url=f"http://{listener.address}/base/",
        schema_registry_username="us",
        schema_registry_password="secret",
    )
    await listener.stop()


async def register_all(settings: RegistrySettings) -> None:
    async with SchemaRegistryClient(settings) as registry:
        for name, subjects in SUBJECTS.items():
            for subject in subjects:
                for version in Schemas.load(DIRECTORY).versions[name].values():
                    await registry.register(subject, version.text)


# The id of the newest version of orders, whose versions are registered first.
ORDER_ID = FIRST_ID + len(Schemas.load(DIRECTORY).versions["order"]) - 1


async def test_without_a_registry_our_own_ids_hold() -> None:
    schemas = await load_schemas(DIRECTORY, RegistrySettings(schema_registry_url=None), SUBJECTS)
    assert schemas["order"].schema_id == Schemas.load(DIRECTORY)["order"].schema_id


async def test_with_one_its_ids_hold(settings: RegistrySettings, fake_registry: FakeRegistry) -> None:
    await register_all(settings)
    schemas = await load_schemas(DIRECTORY, settings, SUBJECTS)
    assert schemas["order"].schema_id == ORDER_ID
    assert schemas["product"].prefix == b"\0" + (ORDER_ID + 1).to_bytes(4, "big")
    assert schemas.by_id(FIRST_ID) is schemas.versions["order"][1]
    assert schemas.by_id(UUID(int=FIRST_ID)) is schemas.versions["order"][1]
    assert schemas.by_id(Schemas.load(DIRECTORY)["order"].schema_id) is None
    assert fake_registry.authorization == encode_basic_auth("us", "secret")


async def test_a_service_waits_for_what_is_not_registered_yet(settings: RegistrySettings) -> None:
    waiting = asyncio.create_task(load_schemas(DIRECTORY, settings, SUBJECTS))
    with pytest.raises(UnregisteredSchemaError, match="schemas register"):
        await load_schemas(DIRECTORY, settings, SUBJECTS, wait=False)
    assert not waiting.done()
    await register_all(settings)
    await until(waiting.done)
    assert (await waiting)["order"].schema_id == ORDER_ID


@pytest.mark.parametrize("status", [500, 401, 403, 429])
async def test_a_registry_that_does_not_answer_is_away(
    settings: RegistrySettings, fake_registry: FakeRegistry, status: int
) -> None:
    fake_registry.status = status
    with pytest.raises(UnavailableError):
        await load_schemas(DIRECTORY, settings, SUBJECTS, wait=False)


async def test_nobody_there_is_away() -> None:
    nowhere = RegistrySettings(schema_registry_url="http://127.0.0.1:1")
    async with SchemaRegistryClient(nowhere) as registry:
        with pytest.raises(UnavailableError):
            await registry.definition(1)


async def test_a_refusal_is_told_in_the_registrys_words(settings: RegistrySettings) -> None:
    async with SchemaRegistryClient(settings) as registry:
        with pytest.raises(ValueError, match="not compatible"):
            await registry.register("x-value", '{"type":"record","name":"Refused","fields":[]}')


async def test_schemas_that_are_not_ours_can_be_fetched(settings: RegistrySettings) -> None:
    async with SchemaRegistryClient(settings) as registry:
        newer: dict[str, Any] = {"type": "record", "name": "Newer", "fields": []}
        schema_id = await registry.register("x-value", json.dumps(newer))
        assert await registry.definition(schema_id) == newer
        assert await registry.definition(1) is None
        other_id = await registry.register("x-value", '"string"')
        assert await registry.definition(other_id) is None


RECORD = '{"type": "record", "name": "Theirs", "fields": []}'


@pytest.mark.parametrize(
    "answer",
    [
        {"schemaType": "PROTOBUF", "schema": "message Theirs {}"},
        {"schemaType": "JSON", "schema": RECORD},
        {"schema": RECORD, "references": [{"name": "Other", "subject": "other", "version": 1}]},
        {"schema": '["null", "string"]'},
        {"schema": '{"type": "array", "items": "int"}'},
    ],
    ids=lambda answer: answer["schema"],
)
async def test_what_is_no_record_of_avro_alone_is_no_schema_that_can_be_read(
    settings: RegistrySettings, fake_registry: FakeRegistry, answer: dict[str, Any]
) -> None:
    fake_registry.known = {7: answer, 8: {"schema": RECORD, "schemaType": "AVRO", "references": []}}
    async with SchemaRegistryClient(settings) as registry:
        assert await registry.definition(7) is None
        assert await registry.definition(8) == json.loads(RECORD)


async def test_a_registry_that_does_not_answer_in_time_is_away(
    settings: RegistrySettings, fake_registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_client, "_TIMEOUT_S", 0.05)
    fake_registry.hold = asyncio.Event()
    async with SchemaRegistryClient(settings) as registry:
        with pytest.raises(UnavailableError):
            await registry.definition(1)
    fake_registry.hold.set()


async def test_what_answers_but_is_no_registry_is_away(settings: RegistrySettings, fake_registry: FakeRegistry) -> None:
    """A proxy, for one, that has a page of its own for all that it does not know."""
    fake_registry.found["x-value"] = web.Response(text="<html>", content_type="text/html")
    async with SchemaRegistryClient(settings) as registry:
        with pytest.raises(UnavailableError):
            await registry.lookup_ids("x-value", RECORD)


async def test_a_registry_without_global_ids_will_do(settings: RegistrySettings, fake_registry: FakeRegistry) -> None:
    fake_registry.found["x-value"] = web.json_response({"id": 5, "version": 1})
    async with SchemaRegistryClient(settings) as registry:
        assert await registry.lookup_ids("x-value", RECORD) == RegistryIds(5, None)


async def test_a_schema_has_one_id_in_all_its_subjects(settings: RegistrySettings, fake_registry: FakeRegistry) -> None:
    """Else what one of our services writes could not be read by another."""
    await register_all(settings)
    fake_registry.found["orders.validated.v1-value"] = web.json_response({"id": 5, "version": 1})
    with pytest.raises(ValueError, match="several ids for version 1 of order"):
        await load_schemas(DIRECTORY, settings, SUBJECTS)


async def test_of_earlier_versions_it_needs_to_know_none(
    settings: RegistrySettings, fake_registry: FakeRegistry, tmp_path: Path
) -> None:
    ours = Schemas.load(DIRECTORY)
    newer = schemas_with_older_version("product", without_fields(ours["product"].definition, "name"), tmp_path)
    async with SchemaRegistryClient(settings) as registry:
        await registry.register("catalog.products.v1-value", newer.versions["product"][2].text)
    schemas = await load_schemas(tmp_path, settings, {"product": SUBJECTS["product"]}, wait=False)
    assert schemas["product"].schema_id == FIRST_ID
    assert fake_registry.ids
