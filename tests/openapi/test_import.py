"""The import API's responses match its document."""

import asyncio
import json
from collections import Counter
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.ingest.client import BASE, Response, import_api
from tests.ingest.client import OPENAPI_FILE as FILE
from tests.ingest.fakes import a_return, order
from tests.ingest.test_imports import CHECKS
from tests.openapi.documents import Operation, load_document, operations, resolve
from tests.openapi.schemathesis_runner import example_count, explore

DOCUMENT = load_document("omnichannel")
PATH_PARAMETERS = {"apiKey": "12345"}


def assert_described(answer: Response, place: Operation) -> None:
    """Assert that status, required headers, media type and body match the document."""
    definition = operations(DOCUMENT)[place]["responses"][str(answer.status)]
    response = resolve(DOCUMENT, definition)
    for name, header in response.get("headers", {}).items():
        one = resolve(DOCUMENT, header)
        value = answer.headers.get(name.lower())
        assert value is not None or not one.get("required"), name
        if value is not None:
            Draft202012Validator(one["schema"]).validate(value)
    unsaid = {"ratelimit", "ratelimit-policy", "retry-after", "location", "link", "www-authenticate", "allow"}
    assert unsaid & set(answer.headers) <= {name.lower() for name in response.get("headers", {})}
    media = response["content"][answer.headers["content-type"].partition(";")[0]]
    Draft202012Validator({**media["schema"], "components": DOCUMENT["components"]}).validate(answer.json)


async def test_it_is_served() -> None:
    async with import_api() as client:
        answer = await client.call("GET", "/omnichannel/openapi.yaml", token=None)
        assert answer.headers["content-type"].startswith("application/yaml")
        assert answer.body == FILE.read_bytes()
        assert yaml.safe_load(answer.body) == DOCUMENT


@pytest.mark.parametrize("name", sorted(DOCUMENT["components"]["examples"]))
async def test_its_examples_of_requests_are_accepted_whole(name: str) -> None:
    value: Any = DOCUMENT["components"]["examples"][name]["value"]
    if "message" in value:
        pytest.skip("an answer")
    kind = "returns" if "eturn" in name else "orders"
    async with import_api() as client:
        answer = await client.send(value, kind=kind, user=None if isinstance(value, list) else "userC2")
        assert answer.status == 202
        assert answer.json["message"].endswith("Failed = 0")
        assert "notes" not in answer.json


@pytest.mark.parametrize("how", [line[1] for line in CHECKS if line[2] not in (404, 405)])
async def test_refusals_are_described(how: dict[str, Any]) -> None:
    async with import_api() as client:
        sent = {"method": "POST", "path": BASE + "/orders", "data": json.dumps([order()]).encode(), **how}
        answer = await client.call(**sent)
    kind = "returns" if "/returns" in sent["path"] else "orders"
    suffix = "/users/{userId}" if "/users/" in sent["path"] else ""
    assert_described(answer, Operation(sent["method"], f"/omnichannel/api/v1/{{apiKey}}/{kind}{suffix}"))


async def test_the_other_answers_are_described() -> None:
    orders = Operation("POST", "/omnichannel/api/v1/{apiKey}/orders")
    async with import_api(body_timeout_s=0.1) as client:
        assert_described(await client.send([a_return(dateTime="2024-05-01T10:00:00", gift=1)]), orders)
        assert_described(
            await client.call("GET", BASE + "/limits"), Operation("GET", "/omnichannel/api/v1/{apiKey}/limits")
        )
        client.publisher.is_unavailable = True
        assert_described(await client.send([order()], headers={"Idempotency-Key": "k"}), orders)
        client.idempotency.released.clear()
        assert_described(await client.send([order()], headers={"Idempotency-Key": "k"}), orders)
        assert_described(await client.send([order(id=2)], headers={"Idempotency-Key": "k"}), orders)
        assert_described(await client.send([order(id=str(n)) for n in range(100)]), orders)
        assert_described(await client.send(b"["), orders)


async def test_whatever_is_sent_the_answer_is_described() -> None:
    """Schemathesis, bounded; `FUZZ_EXAMPLES` makes it a campaign."""
    async with import_api(records_per_second=1_000_000) as client:
        seen = await asyncio.to_thread(
            explore,
            DOCUMENT,
            client.base_url,
            examples=example_count(16),
            token="good",
            path_parameters=PATH_PARAMETERS,
            start=1,
        )
    statuses = Counter[int]()
    for (_, status), count in seen.items():
        statuses[status] += count
    assert {200, 202, 400, 401} <= set(statuses), statuses
    assert all(status < 500 for status in statuses)
