"""`validateOnly` over HTTP: the checks and answers of an import, without an import."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from services.ingest.metrics import VALIDATED
from tests.ingest.client import BASE, ApiClient, import_api
from tests.ingest.fakes import Charged, Judged, a_return, order
from tests.openapi.documents import load_document

DRY = "?validateOnly=true"


@pytest.fixture
async def client() -> Any:
    async with import_api() as client:
        yield client


async def test_each_record_gets_its_outcome_in_order(client: ApiClient) -> None:
    """A fault of the body, one of the catalogue and a good record: each with the ids, faults and notes of its own."""
    body = [order(id="a", lineItems=[]), order(id="b"), order(id="c", dateTime="2024-05-01T10:00:00", x=1)]
    body.append(order(id="d", lineItems=[{"productId": "zz", "quantity": 1, "unitPrice": 1}]))
    response = await client.send(body, query=DRY)
    assert response.status == 200
    assert list(response.json) == ["message", "time", "catalogueAsOf", "records"]
    assert response.json["message"] == "Total records = 4. Success = 2. Failed = 2"
    assert response.json["catalogueAsOf"] == "2024-05-01T08:00:00.000Z"
    records = response.json["records"]
    assert [list(record) for record in records] == [["index", "id", "userId", "outcome", "faults", "notes"]] * 4
    assert [(record["index"], record["id"], record["outcome"]) for record in records] == [
        (0, "a", "failed"),
        (1, "b", "succeeded"),
        (2, "c", "succeeded"),
        (3, "d", "failed"),
    ]
    (fault,) = records[0]["faults"]
    assert (fault["code"], fault["field"], fault["retryable"]) == ("INVALID_VALUE", "/lineItems", False)
    assert records[3]["faults"] == [
        {
            "code": "PRODUCT_NOT_FOUND",
            "field": "/lineItems/0/productId",
            "message": "No product is found for product ID zz",
            "retryable": True,
        }
    ]
    assert [note["code"] for note in records[2]["notes"]] == ["TIMEZONE_ASSUMED", "UNKNOWN_FIELD"]
    schema = {"$ref": "#/components/schemas/Validated", "components": load_document("omnichannel")["components"]}
    Draft202012Validator(schema).validate(response.json)


async def test_nothing_is_published_stored_or_reserved(client: ApiClient) -> None:
    """Only the quota is charged, as by an import; the key stays free for the import itself."""
    headers = {"Idempotency-Key": "k"}
    body = [order(), order(id="2", lineItems=[])]
    for _ in range(2):
        response = await client.send(body, query=DRY, headers=headers)
        assert response.status == 200
        assert "location" not in response.headers
        assert "idempotent-replayed" not in response.headers
    assert client.journal == [Charged(2), Judged(1)] * 2
    assert client.idempotency.keys == {}
    assert response.headers["ratelimit"] == '"records";r=96;t=1'
    assert (await client.send(body, headers=headers)).status == 202


@pytest.mark.parametrize(("kind", "user"), [("orders", None), ("orders", "u1"), ("returns", None), ("returns", "u1")])
async def test_all_four_calls_validate(client: ApiClient, kind: str, user: str | None) -> None:
    record = order() if kind == "orders" else a_return()
    response = await client.send(record if user else [record], kind=kind, user=user, query=DRY)
    ids = {"id": "o1"} if kind == "orders" else {"orderId": "o1", "returnId": "r1"}
    assert response.json["records"] == [
        {"index": 0, **ids, "userId": "u1", "outcome": "succeeded", "faults": [], "notes": []}
    ]


async def test_returns_on_an_orders_path_are_validated_as_returns(client: ApiClient) -> None:
    response = await client.send([a_return()], query=DRY)
    assert response.json["records"][0]["returnId"] == "r1"
    assert [note["code"] for note in response.json["notes"]] == ["RETURN_ON_ORDERS_PATH"]
    assert response.headers["link"] == '</omnichannel/api/v1/12345/returns>; rel="canonical"'
    refused = await client.send([a_return()], query=DRY, token="orders")
    assert (refused.status, refused.code) == (403, "FORBIDDEN")


@pytest.mark.parametrize(
    "query",
    ["validateOnly=TRUE", "VALIDATEONLY=1", "validateonly=true&mode=online", "validateOnly=1&validateOnly=true"],
)
async def test_every_spelling_of_true_validates(client: ApiClient, query: str) -> None:
    """Breaks if a spelling that looks right is ignored: the records would be imported."""
    assert (await client.send([order()], query=f"?{query}")).status == 200
    assert client.publisher.jobs == []


@pytest.mark.parametrize("query", ["validateOnly=false", "validateOnly=0", "validateOnly=False"])
async def test_false_imports(client: ApiClient, query: str) -> None:
    assert (await client.send([order()], query=f"?{query}")).status == 202


@pytest.mark.parametrize("value", ["", "yes", "2", "true&validateOnly=false", "%20true"])
async def test_an_unknown_value_is_refused(client: ApiClient, value: str) -> None:
    response = await client.send(b"[", query=f"?validateOnly={value}")
    assert (response.status, response.code) == (400, "INVALID_VALIDATE_ONLY")
    assert client.journal == []


async def test_the_scope_and_the_mode_are_checked_first(client: ApiClient) -> None:
    assert (await client.send([], query="?validateOnly=x", token="neither")).code == "FORBIDDEN"
    assert (await client.send([], query="?validateOnly=x&mode=x")).code == "INVALID_MODE"


@pytest.mark.parametrize(
    ("body", "code"), [(b"[", "MALFORMED_JSON"), (b"[]", "EMPTY_BATCH"), (b" " * 102_401, "PAYLOAD_TOO_LARGE")]
)
async def test_what_an_import_refuses_is_refused(client: ApiClient, body: bytes, code: str) -> None:
    assert (await client.send(body, query=DRY)).code == code
    assert client.journal == [Charged(1)]


async def test_the_sites_limit_holds_for_both_together(client: ApiClient) -> None:
    await client.send([order(id=str(n)) for n in range(60)], query=DRY)
    response = await client.send([order(id=str(n)) for n in range(41)], query=DRY)
    assert (response.status, response.code) == (429, "RATE_LIMITED")
    assert (await client.send([order(id=str(n)) for n in range(41)])).status == 429
    assert client.publisher.jobs == []


async def test_a_limit_of_its_own_spares_the_sites() -> None:
    async with import_api(validate_only_records_per_second=3) as client:
        first = await client.send([order(id=str(n)) for n in range(3)], query=DRY)
        assert first.headers["ratelimit-policy"] == '"records";q=3;w=1'
        assert (await client.send([order()], query=DRY)).status == 429
        too_many = await client.send([order(id=str(n)) for n in range(100)])
        assert too_many.status == 202, "imports have the whole limit"
        client.rate_limiter.now += 1
        assert (await client.send([order(id=str(n)) for n in range(4)], query=DRY)).code == "TOO_MANY_RECORDS"
        assert (await client.send(b"[", query=DRY)).headers["ratelimit"] == '"records";r=1;t=1'


async def test_the_limits_of_dry_runs_are_shown() -> None:
    """Breaks if a client that validates a file paces itself by the limit of imports, and is refused."""
    async with import_api(validate_only_records_per_second=30) as client:
        await client.send([order(id=str(n)) for n in range(20)], query=DRY)
        shown = await client.call("GET", BASE + "/limits" + DRY)
        assert (shown.json["recordsPerSecond"], shown.json["remaining"]) == (30, 10)
        assert shown.json["recordsPerRequest"] == 30
        assert shown.headers["ratelimit"] == '"records";r=10;t=1'
        assert shown.headers["ratelimit-policy"] == '"records";q=30;w=1'
        for query in ("", "?validateOnly=false"):
            assert (await client.call("GET", BASE + "/limits" + query)).json["remaining"] == 100
        unknown = await client.call("GET", BASE + "/limits?validateOnly=perhaps")
        assert (unknown.status, unknown.code) == (400, "INVALID_VALIDATE_ONLY")


async def test_without_a_limit_of_their_own_dry_runs_have_that_of_the_site(client: ApiClient) -> None:
    await client.send([order(id=str(n)) for n in range(20)], query=DRY)
    for query in ("", DRY):
        shown = (await client.call("GET", BASE + "/limits" + query)).json
        assert (shown["recordsPerSecond"], shown["remaining"]) == (100, 80)


async def test_without_the_validator_it_is_503(client: ApiClient) -> None:
    client.judge.is_unavailable = True
    response = await client.send([order()], query=DRY)
    assert (response.status, response.code) == (503, "UNAVAILABLE")
    assert int(response.headers["retry-after"]) >= 1
    assert "validator" in response.json["detail"]
    assert (await client.send([order()])).status == 202, "imports do not need it"


async def test_validated_records_have_a_metric_of_their_own(client: ApiClient) -> None:
    def read() -> list[float]:
        return [VALIDATED.labels("orders", outcome)._value.get() for outcome in ("succeeded", "failed")]

    before = read()
    await client.send(json.dumps([order(), order(id="2", lineItems=[])]).encode(), query=DRY)
    assert [now - then for now, then in zip(read(), before, strict=True)] == [1, 1]
