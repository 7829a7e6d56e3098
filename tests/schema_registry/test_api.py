"""The schema registry: with the client of Confluent, and response by response."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from ipaddress import ip_address
from itertools import count
from typing import Any

import aiohttp
import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import MessageField, SerializationContext
from yarl import URL

from services.chassis.avro.schemas import Schemas
from services.chassis.http.server import HttpServer, build_application
from services.chassis.http.source_address import parse_networks
from services.chassis.runtime.settings import REPOSITORY
from services.schema_registry import api
from services.schema_registry.api import registry_routes
from services.schema_registry.subjects import Subjects
from services.topics import SCHEMA_BY_SUBJECT, TOPICS

SCHEMAS = Schemas.load(REPOSITORY / "schemas")
SUBJECT = "orders.submitted.v1-value"
ORDER = SCHEMAS["order"]


@pytest.fixture(scope="module")
async def base() -> AsyncIterator[str]:
    server = HttpServer(
        build_application(registry_routes(SCHEMAS, proxies=parse_networks("127.0.0.0/8"))), host="127.0.0.1", port=0
    )
    await server.start()
    yield f"http://{server.address}/registry"
    await server.stop()


@pytest.fixture(scope="module")
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


Call = Callable[..., Any]


CLIENT_NUMBERS = count()


@pytest.fixture
def call(base: str, session: aiohttp.ClientSession) -> Call:
    """Send requests of a client that no other test is."""
    client = {"X-Forwarded-For": str(ip_address("10.0.0.0") + next(CLIENT_NUMBERS))}

    async def send(method: str, path: str, body: Any = None) -> tuple[int, Any]:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body)
        async with session.request(method, base + path, data=data, headers=client) as response:
            assert response.content_type == "application/vnd.schemaregistry.v1+json"
            return response.status, await response.json(content_type=None)

    return send


async def test_every_topic_with_a_schema_is_a_subject(call: Call) -> None:
    subjects = sorted(f"{topic.name}-value" for topic in TOPICS if topic.schema)
    assert await call("GET", "/subjects") == (200, subjects)
    assert await call("GET", "/subjects?subjectPrefix=orders.sub") == (200, [SUBJECT])


@pytest.mark.parametrize("version", [str(ORDER.number), "latest", "-1"])
async def test_a_version_is_described_whole(call: Call, version: str) -> None:
    status, body = await call("GET", f"/subjects/{SUBJECT}/versions/{version}")
    assert status == 200
    assert json.loads(body.pop("schema")) == SCHEMAS["order"].definition
    assert body == {
        "subject": SUBJECT,
        "version": ORDER.number,
        "id": SCHEMAS["order"].schema_id,
        "guid": str(ORDER.global_id),
        "schemaType": "AVRO",
    }


async def test_schemas_are_found_by_their_ids(call: Call) -> None:
    for name, schema in SCHEMAS.items():
        status, body = await call("GET", f"/schemas/ids/{schema.schema_id}")
        assert status == 200
        assert json.loads(body["schema"]) == schema.definition
        assert await call("GET", f"/schemas/guids/{body['guid']}") == (200, body)
        status, subjects = await call("GET", f"/schemas/ids/{schema.schema_id}/subjects")
        assert {SCHEMA_BY_SUBJECT[subject] for subject in subjects} == {name}


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/subjects/unknown-value/versions", 404, 40401),
        ("GET", "/subjects/unknown-value/versions/latest", 404, 40401),
        ("GET", f"/subjects/{SUBJECT}/versions/99", 404, 40402),
        ("GET", f"/subjects/{SUBJECT}/versions/0", 422, 42202),
        ("GET", f"/subjects/{SUBJECT}/versions/newest", 422, 42202),
        ("GET", "/schemas/ids/999999", 404, 40403),
        ("GET", "/schemas/ids/x", 404, 40403),
        ("GET", "/schemas/guids/x", 404, 40403),
        ("GET", "/schemas/guids/00000000-0000-0000-0000-000000000000", 404, 40403),
        ("GET", "/config/unknown-value", 404, 40401),
        ("GET", "/mode/unknown-value", 404, 40401),
        ("PUT", "/config", 422, 42205),
        ("PUT", f"/config/{SUBJECT}", 422, 42205),
        ("PUT", "/mode", 422, 42205),
        ("DELETE", f"/subjects/{SUBJECT}", 422, 42205),
        ("GET", f"/associations/resources/-/{SUBJECT}", 404, 404),
        ("POST", "/associations", 404, 404),
        ("DELETE", "/associations/resources/x", 404, 404),
        ("GET", "/contexts", 404, 404),
        ("GET", "/nothing/here", 404, 404),
    ],
)
async def test_what_is_not_there_or_not_allowed_has_the_registrys_own_error(
    call: Call, method: str, path: str, status: int, code: int
) -> None:
    received, body = await call(method, path)
    assert (received, body["error_code"]) == (status, code)
    assert body["message"]


async def test_levels_mode_and_types_are_told(call: Call) -> None:
    assert await call("GET", "/config") == (200, {"compatibilityLevel": "FULL_TRANSITIVE"})
    assert await call("GET", f"/config/{SUBJECT}") == (200, {"compatibilityLevel": "FULL_TRANSITIVE"})
    product = "/config/catalog.products.v1-value?defaultToGlobal=true"
    assert await call("GET", product) == (200, {"compatibilityLevel": "BACKWARD_TRANSITIVE"})
    assert await call("GET", "/mode") == (200, {"mode": "READONLY"})
    assert await call("GET", f"/mode/{SUBJECT}") == (200, {"mode": "READONLY"})
    assert await call("GET", "/schemas/types") == (200, ["AVRO"])


def reworded(definition: Any) -> Any:
    """Return the schema as another language writes it: without docs, with a string annotation, in another order."""
    if isinstance(definition, dict):
        return {key: reworded(value) for key, value in reversed(definition.items()) if key != "doc"}
    if isinstance(definition, list):
        return [reworded(item) for item in definition]
    return {"type": "string", "avro.java.string": "String"} if definition == "string" else definition


@pytest.mark.parametrize("path", [f"/subjects/{SUBJECT}", f"/subjects/{SUBJECT}/versions?normalize=True"])
@pytest.mark.parametrize("definition", [ORDER.definition, reworded(ORDER.definition)], ids=["same", "otherwise"])
async def test_our_own_schema_may_be_registered_as_often_as_anyone_likes(
    call: Call, path: str, definition: Any
) -> None:
    status, body = await call("POST", path, {"schema": json.dumps(definition), "schemaType": "AVRO"})
    assert (status, body["id"], body["version"]) == (200, SCHEMAS["order"].schema_id, ORDER.number)


def order_schema_with(**changes: Any) -> dict[str, Any]:
    fields = [{**field, **changes} if field["name"] == "currency" else field for field in ORDER.definition["fields"]]
    return {**ORDER.definition, "fields": fields}


@pytest.mark.parametrize(
    ("definition", "look_up", "register"),
    [
        (order_schema_with(name="money"), (404, 40403), (422, 42205)),
        (order_schema_with(default="USD"), (404, 40403), (422, 42205)),
        (order_schema_with(aliases=["money"]), (404, 40403), (422, 42205)),
        (order_schema_with(type="bytes"), (404, 40403), (422, 42205)),
        ({**ORDER.definition, "name": "Purchase"}, (404, 40403), (422, 42205)),
        ({**ORDER.definition, "namespace": "elsewhere"}, (404, 40403), (422, 42205)),
        ({"type": "nonsense"}, (422, 42201), (422, 42201)),
        ("{", (422, 42201), (422, 42201)),
    ],
)
async def test_another_schema_is_refused(
    call: Call, definition: Any, look_up: tuple[int, int], register: tuple[int, int]
) -> None:
    body = {"schema": definition if isinstance(definition, str) else json.dumps(definition)}
    for path, expected in ((f"/subjects/{SUBJECT}", look_up), (f"/subjects/{SUBJECT}/versions", register)):
        status, response = await call("POST", path, body)
        assert (status, response["error_code"]) == expected


async def test_a_byte_order_mark_before_a_schema_is_skipped(call: Call) -> None:
    body = b"\xef\xbb\xbf" + json.dumps({"schema": ORDER.text}).encode()
    assert (await call("POST", f"/subjects/{SUBJECT}", body))[0] == 200
    assert (await call("POST", f"/subjects/{SUBJECT}", b"{"))[1]["error_code"] == 42201


async def test_a_schema_of_another_subject_is_not_this_ones(call: Call) -> None:
    body = {"schema": SCHEMAS.versions["return"][1].text}
    assert (await call("POST", f"/subjects/{SUBJECT}", body))[1]["error_code"] == 40403


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"schema": 1},
        {"schema": ORDER.text, "schemaType": "JSON"},
        {"schema": ORDER.text, "references": [{"name": "x", "subject": "x", "version": 1}]},
        {"schema": "[" * 60_000},
        {"schema": "\ud800"},
        {"schema": '"\ud800"'},
    ],
)
async def test_a_body_that_holds_no_schema_is_refused(call: Call, body: Any) -> None:
    for path in (f"/subjects/{SUBJECT}/versions", f"/compatibility/subjects/{SUBJECT}/versions"):
        status, response = await call("POST", path, body)
        assert (status, response["error_code"]) == (422, 42201)


WITH_COLOUR = {
    **ORDER.definition,
    "fields": [*ORDER.definition["fields"], {"name": "colour", "type": ["null", "string"], "default": None}],
}
WITHOUT_CURRENCY = {
    **ORDER.definition,
    "fields": [field for field in ORDER.definition["fields"] if field["name"] != "currency"],
}


@pytest.mark.parametrize("version", ["", "/latest", "/1"])
@pytest.mark.parametrize(("definition", "is_compatible"), [(WITH_COLOUR, True), (WITHOUT_CURRENCY, False)])
async def test_a_next_version_can_be_tried(call: Call, version: str, definition: Any, *, is_compatible: bool) -> None:
    path = f"/compatibility/subjects/{SUBJECT}/versions{version}?verbose=true"
    status, body = await call("POST", path, {"schema": json.dumps(definition)})
    assert (status, body["is_compatible"]) == (200, is_compatible)
    assert (body["messages"] == []) == is_compatible


# --- Limits: schemas are taken from anyone

POST_PATHS = (f"/subjects/{SUBJECT}", f"/subjects/{SUBJECT}/versions", f"/compatibility/subjects/{SUBJECT}/versions")


@pytest.mark.parametrize("path", POST_PATHS)
async def test_schemas_are_compared_beside_the_event_loop(
    call: Call, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Ingest serves the registry: while its event loop compares, no import is accepted."""
    threads: set[threading.Thread] = set()

    def compare(*_: Any) -> list[str]:
        threads.add(threading.current_thread())
        return []

    def find(*_: Any) -> Any:
        threads.add(threading.current_thread())
        return ORDER

    monkeypatch.setattr(api, "incompatibilities", compare)
    monkeypatch.setattr(Subjects, "find", find)
    await call("POST", path, {"schema": ORDER.text})
    assert threads
    assert threading.current_thread() not in threads


async def test_a_client_may_send_so_many_schemas_and_another_still_its_own(
    base: str, session: aiohttp.ClientSession
) -> None:
    async def send(client: str, path: str) -> tuple[int, str | None]:
        async with session.post(base + path, data=b"{}", headers={"X-Forwarded-For": client}) as response:
            assert response.content_type == "application/vnd.schemaregistry.v1+json"
            return response.status, response.headers.get("Retry-After")

    sent = [await send("192.0.2.1", POST_PATHS[number % 3]) for number in range(api.MAX_SCHEMAS_PER_WINDOW)]
    assert set(sent) == {(422, None)}
    for path in POST_PATHS:
        status, retry_after = await send("192.0.2.1", path)
        assert (status, 1 <= int(retry_after or 0) <= 10) == (429, True)
    assert await send("192.0.2.2", POST_PATHS[0]) == (422, None)
    async with session.get(base + "/subjects", headers={"X-Forwarded-For": "192.0.2.1"}) as response:
        assert response.status == 200


@pytest.mark.parametrize("path", POST_PATHS)
async def test_a_schema_that_is_far_longer_than_ours_is_not_compared(call: Call, path: str) -> None:
    assert (
        3 * max(len(version.text) for versions in SCHEMAS.versions.values() for version in versions.values())
        < api.MAX_SCHEMA_LENGTH
    )
    documented = {**ORDER.definition, "doc": "x" * api.MAX_SCHEMA_LENGTH}
    assert (await call("POST", path, {"schema": json.dumps(documented)}))[1]["error_code"] == 42201
    assert (await call("POST", path, {"schema": "x" * api.MAX_BODY_BYTES}))[0] == 413


# --- Confluent's own client

ORDER_FIELDS: dict[str, Any] = {
    "site": 608,
    "acceptedAt": 1_749_999_999_000_000,
    "id": "1",
    "userId": "u",
    "dateTime": 1_749_999_999_000_000,
    "utcOffsetMinutes": 0,
    "mode": "offline",
    "currency": "USD",
    "segmentIds": [],
    "segmentNames": [],
    "lineItems": [],
}


@pytest.fixture
def client(base: str) -> Iterator[SchemaRegistryClient]:
    with SchemaRegistryClient({"url": base}) as session:
        yield session


async def test_the_client_registers_looks_up_and_fetches(client: SchemaRegistryClient) -> None:
    def use_client() -> None:
        ours = Schema(ORDER.text, "AVRO")
        assert client.get_subjects()
        assert client.register_schema(SUBJECT, ours) == SCHEMAS["order"].schema_id
        assert client.lookup_schema(SUBJECT, ours).version == ORDER.number
        assert client.get_latest_version(SUBJECT).schema_id == SCHEMAS["order"].schema_id
        assert client.get_schema_by_guid(str(ORDER.global_id)).schema_str == ORDER.text
        assert client.test_compatibility(SUBJECT, ours)
        with pytest.raises(SchemaRegistryError) as refused:
            client.register_schema(SUBJECT, Schema('"string"', "AVRO"))
        assert refused.value.error_code == 42205

    await asyncio.to_thread(use_client)


@pytest.mark.parametrize("settings", [{}, {"auto.register.schemas": False, "use.latest.version": True}])
async def test_the_serializer_works_as_it_comes_and_as_advised(
    client: SchemaRegistryClient, settings: dict[str, Any]
) -> None:
    context = SerializationContext("orders.submitted.v1", MessageField.VALUE)

    def round_trip() -> tuple[bytes, Any]:
        value = AvroSerializer(client, ORDER.text, conf=settings)(ORDER_FIELDS, context)
        assert value is not None
        return value, AvroDeserializer(client)(value, context)

    value, read = await asyncio.to_thread(round_trip)
    assert value.startswith(SCHEMAS["order"].prefix)
    assert read["id"] == "1"


async def test_a_schema_that_does_not_come_is_not_waited_for(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "BODY_TIMEOUT_S", 0.1)
    url = URL(base)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    head = f"POST /registry/subjects/{SUBJECT} HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n"
    writer.write(head.encode() + b'{"schema":')
    async with asyncio.timeout(5):
        assert b" 408 " in await reader.readline()
    writer.close()
