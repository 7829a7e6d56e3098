"""The fulfilment API as a caller sees it, each answer held against the API's own description."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from services.chassis.errors import Away, Problem, Unauthorized
from services.chassis.idempotency import Reply, Turn
from services.chassis.paging import SignedPlaces
from services.chassis.ratelimit import RateLimit
from services.chassis.tokens import Token
from services.chassis.web import application
from services.fulfilment import loading
from services.fulfilment.api import OrdersApi
from services.fulfilment.app import new_id
from services.fulfilment.desk import Desk
from services.fulfilment.invoices_api import InvoicesApi
from services.fulfilment.paper import InvoicePaper
from services.fulfilment.stock_api import StockApi
from tests.fulfilment.shop import CURRENCIES, OPENAPI, OTHER_SITE, SITE, VAULT, Shop, a_memory_shop

DOCUMENT = yaml.safe_load(OPENAPI.read_text(encoding="utf-8"))
V1 = "/fulfilment/v1"
ORDERS = V1 + "/orders"
ALL = frozenset({"orders:create", "orders:read", "codes:read", "invoices:read", "stock:write"})


class Passport:
    """Knows callers by their tokens: `good`, `other` (another customer), `bare` (no scope), `lost` (no customer)."""

    def remembered(self, token: str) -> Token | None:
        site = {"good": SITE, "other": OTHER_SITE, "bare": SITE, "lost": 1}.get(token)
        if site is None:
            return None
        scopes = frozenset[str]() if token == "bare" else ALL
        return Token(
            client_id=token,
            site=site,
            api_keys=frozenset(),
            scopes=scopes,
            issued_at=0,
            expires_at=2**40,
            token_id="t",
        )

    async def verify(self, token: str) -> Token:
        raise Unauthorized(f"{len(token)} characters of nothing")


class Ledger:
    """Audit lines."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def note(self, what: str, *, who: str, where: str, **details: object) -> None:
        self.lines.append({"what": what, "who": who, "where": where, **details})


class Keys:
    """Idempotency keys in memory."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], tuple[bytes, str, Reply | None]] = {}

    async def begin(self, client: str, key: str, body: bytes, new: Callable[[], str]) -> Turn | Reply:
        known = self.known.get((client, key))
        if known is None:
            self.known[client, key] = (body, new(), None)
            return Turn(f"{client}|{key}", self.known[client, key][1], "me")
        if known[0] != body:
            raise Problem(422, "IDEMPOTENCY_CONFLICT", "another body")
        return known[2] or Turn(f"{client}|{key}", known[1], "me", is_retry=True)

    async def finish(self, turn: Turn, reply: Reply) -> None:
        client, _, key = turn.key.partition("|")
        body, resource_id, _ = self.known[client, key]
        self.known[client, key] = (body, resource_id, reply)

    async def pause(self, turn: Turn) -> None: ...

    async def forget(self, turn: Turn) -> None:
        client, _, key = turn.key.partition("|")
        del self.known[client, key]


@dataclass
class Caller:
    """A client of the API."""

    client: TestClient[Any, Any]
    shop: Shop
    ledger: Ledger
    window_s: list[float]
    seen: list[tuple[str, str, int]] = field(default_factory=list)

    async def call(
        self, method: str, path: str, body: Any = None, *, who: str = "good", headers: Any = None, **query: Any
    ) -> ClientResponse:
        self.window_s[0] += 1.0  # so that nobody meets a limit by accident
        return await self.hurry(method, path, body, who=who, headers=headers, **query)

    async def hurry(
        self, method: str, path: str, body: Any = None, *, who: str = "good", headers: Any = None, **query: Any
    ) -> ClientResponse:
        sent = {"Authorization": f"Bearer {who}", **(headers or {})}
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        response = await self.client.request(method, path, data=data, params=query, headers=sent)
        await fits(response)
        return response

    async def order(self, *lines: tuple[str, int], **more: Any) -> Any:
        body = {"products": [{"sku": sku, "quantity": quantity} for sku, quantity in lines], **more}
        response = await self.call("POST", ORDERS, body)
        assert response.status == 202, await response.text()
        return await response.json()

    async def read(self, path: str, **query: Any) -> Any:
        response = await self.call("GET", path, **query)
        assert response.status == 200, await response.text()
        return await response.json()


async def fits(response: ClientResponse) -> None:
    """The answer is one that the description has."""
    resource = next((path for path in DOCUMENT["paths"] if _matches(path, response.url.path)), None)
    if resource is None:
        return
    operation = DOCUMENT["paths"][resource].get(response.method.lower())
    if operation is None:
        assert response.status == 405
        return
    described = operation["responses"].get(str(response.status))
    assert described is not None, f"{response.method} {resource} answers {response.status}"
    described = _resolved(described)
    kind = response.content_type
    assert kind in described["content"], kind
    if kind.endswith("json"):
        schema = described["content"][kind]["schema"]
        Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(
            json.loads(await response.text())
        )


def _matches(template: str, path: str) -> bool:
    ours, theirs = template.split("/"), path.split("/")
    return len(ours) == len(theirs) and all(a == b or a.startswith("{") for a, b in zip(ours, theirs, strict=True))


def _resolved(node: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in node:
        return node
    found: Any = DOCUMENT
    for part in node["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return _resolved(found)


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    shop, ledger, window_s = a_memory_shop(), Ledger(), [0.0]
    desk = Desk(
        verifier=Passport(),  # type: ignore[arg-type]
        customers=shop.register,
        gate=RateLimit(clock=lambda: window_s[0]),
        reads_per_second=10,
        orders_per_second=10,
    )
    places = SignedPlaces("a secret of sixteen", salt="test")
    orders = OrdersApi(
        desk=desk,
        placing=shop.placing,
        showing=shop.reading,
        lists=shop.transactions,
        idempotency=Keys(),  # type: ignore[arg-type]
        places=places,
        audit=ledger,
        new_id=new_id,
        body_timeout_s=0.3,
        openapi=OPENAPI,
    )
    stock = StockApi(
        desk=desk,
        world=loading.World(shelf=shop.products, stock=shop.stock, waiting=shop.transactions, seal=VAULT.seal),
        audit=ledger,
        currencies=CURRENCIES,
        body_timeout_s=0.3,
    )
    invoices = InvoicesApi(
        desk=desk,
        purchase_orders=shop.orders,
        transactions=shop.transactions,
        invoices=shop.invoices,
        paper=InvoicePaper(issuer="Us"),
        places=places,
        now_us=shop.clock,
    )
    routes = [*orders.routes(), *stock.routes(), *invoices.routes()]
    async with TestClient(TestServer(application(routes, largest_body=2**20))) as client:
        yield Caller(client, shop, ledger, window_s)


async def problem(response: ClientResponse, status: int, code: str) -> Any:
    body = await response.json(content_type=None)
    assert (response.status, body["code"], response.content_type) == (status, code, "application/problem+json"), body
    return body


def test_the_description_is_valid() -> None:
    validate(DOCUMENT)


def test_routes_and_description_are_the_same(caller: Caller) -> None:
    server = caller.client.server
    assert isinstance(server, TestServer)
    routes = {
        (route.method, route.resource.canonical)
        for route in server.app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    described = {
        (method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item if method != "parameters"
    }
    assert routes == described


def test_the_examples_fit_their_schemas() -> None:
    for item in DOCUMENT["paths"].values():
        for operation in item.values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                check = Draft202012Validator({**content["schema"], "components": DOCUMENT["components"]})
                for example in content["examples"].values():
                    check.validate(example["value"])


async def test_it_describes_itself(caller: Caller) -> None:
    response = await caller.client.get("/fulfilment/openapi.yaml")
    assert response.status == 200
    assert yaml.safe_load(await response.text()) == DOCUMENT


async def test_an_order_is_acknowledged_at_once(caller: Caller) -> None:
    response = await caller.call("POST", ORDERS, {"products": [{"sku": "CARD", "quantity": 3}], "clientOrderNumber": 7})
    body = await response.json()
    assert response.status == 202
    assert list(body) == ["transactionId", "clientOrderNumber", "purchaseOrder", "status", "lines", "createdAt"]
    assert body["lines"] == [{"sku": "CARD", "name": "Card", "quantity": 3, "unitPrice": "9.99", "amount": "29.97"}]
    assert body["clientOrderNumber"] == "7"
    assert response.headers["Location"] == f"{ORDERS}/{body['transactionId']}"
    shown = await caller.read(response.headers["Location"])
    assert shown["counts"] == {"ordered": 3, "delivered": 0, "pending": 3, "cancelled": 0}


async def test_a_duplicate_is_the_first_answer(caller: Caller) -> None:
    first = await caller.order(("DEMO-INSTANT", 1), clientOrderNumber="n")
    await caller.read(f"{ORDERS}/{first['transactionId']}/codes")
    body = {"products": [{"sku": "DEMO-INSTANT", "quantity": 1}], "clientOrderNumber": "n"}
    again = await caller.call("POST", ORDERS, body)
    assert (again.status, await again.json()) == (200, {**first, "duplicate": True})
    body["products"] = [{"sku": "DEMO-INSTANT", "quantity": 2}]
    await problem(await caller.call("POST", ORDERS, body), 409, "DUPLICATE_CLIENT_ORDER")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "MALFORMED_JSON"),
        (b"{", 400, "MALFORMED_JSON"),
        (b'{"products": "\xff"}', 400, "MALFORMED_JSON"),
        (b"[]", 400, "INVALID_TYPE"),
        (b"{}", 422, "EMPTY_ORDER"),
        (b'{"products": [{"sku": "NO-SUCH", "quantity": 1}]}', 422, "UNKNOWN_SKU"),
        (b'{"products": [{"sku": "CARD", "quantity": 0}]}', 422, "INVALID_QUANTITY"),
        (b" " * 2_001, 413, "PAYLOAD_TOO_LARGE"),
    ],
    ids=["empty", "broken", "utf8", "array", "nothing", "unknown", "none", "large"],
)
async def test_bodies_that_are_refused(
    caller: Caller, monkeypatch: pytest.MonkeyPatch, body: bytes, status: int, code: str
) -> None:
    monkeypatch.setattr("services.fulfilment.body.LARGEST", 2_000)
    found = await problem(await caller.call("POST", ORDERS, body), status, code)
    assert ("errors" in found) is (status == 422)
    assert caller.shop.transactions.kept == {}


async def test_bodies_come_as_json_in_time_and_uncompressed(caller: Caller) -> None:
    for headers, code in (
        ({"Content-Type": "text/csv"}, "UNSUPPORTED_MEDIA_TYPE"),
        ({"Content-Encoding": "compress"}, "UNSUPPORTED_ENCODING"),
    ):
        await problem(await caller.call("POST", ORDERS, b"{}", headers=headers), 415, code)

    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(30)  # longer than a body may take

    with suppress(ConnectionError):
        response = await caller.client.post(ORDERS, data=slow(), headers={"Authorization": "Bearer good"})
        await problem(response, 408, "BODY_TIMEOUT")


CALLS = [
    ("POST", ORDERS),
    ("GET", ORDERS),
    ("GET", ORDERS + "/x"),
    ("GET", ORDERS + "/x/codes"),
    ("GET", V1 + "/purchase-orders"),
    ("GET", V1 + "/purchase-orders/x"),
    ("GET", V1 + "/invoices"),
    ("GET", V1 + "/invoices/x"),
    ("POST", V1 + "/stock/CARD/codes"),
    ("PUT", V1 + "/products/CARD"),
]


@pytest.mark.parametrize(("method", "path"), CALLS)
async def test_each_call_asks_for_a_token_and_its_scope(caller: Caller, method: str, path: str) -> None:
    await problem(await caller.call(method, path, who="nobody"), 401, "UNAUTHORIZED")
    await problem(await caller.call(method, path, who="bare"), 403, "FORBIDDEN")
    await problem(await caller.call(method, path, who="lost"), 403, "FORBIDDEN")


async def test_what_is_anothers_is_not_there(caller: Caller) -> None:
    placed = await caller.order(("DEMO-INSTANT", 1))
    await caller.shop.close()
    caller.shop.clock.pass_(days=1)
    await caller.shop.close()
    (invoice,) = (await caller.read(V1 + "/invoices"))["result"]
    paths = [
        (ORDERS + "/{}", placed["transactionId"]),
        (ORDERS + "/{}/codes", placed["transactionId"]),
        (V1 + "/purchase-orders/{}", placed["purchaseOrder"]["id"]),
        (V1 + "/invoices/{}", invoice["id"]),
    ]
    for path, own in paths:
        assert (await caller.call("GET", path.format(own))).status == 200
        theirs, nobodys = [await caller.call("GET", path.format(one), who="other") for one in (own, "none")]
        assert theirs.status == nobodys.status == 404
        assert (await theirs.json(content_type=None))["detail"] == (await nobodys.json(content_type=None))["detail"]
    assert (await (await caller.call("GET", ORDERS, who="other")).json())["result"] == []
    assert (await (await caller.call("GET", V1 + "/invoices", who="other")).json())["result"] == []


async def test_codes_now_and_later(caller: Caller) -> None:
    await caller.call("POST", V1 + "/stock/CARD/codes", {"codes": ["one", {"redeemCode": "two", "pinCode": "22"}]})
    placed = await caller.order(("CARD", 3), ("DEMO-NEVER", 1))
    path = f"{ORDERS}/{placed['transactionId']}/codes"
    response = await caller.call("GET", path)
    assert response.headers["Cache-Control"] == "no-store"
    found = await response.json()
    cards, never = found["codes"]
    assert sorted(unit.get("redeemCode", "") for unit in cards["codes"]) == ["", "one", "two"]
    assert {unit["redeemCode"]: unit.get("pinCode") for unit in cards["codes"] if "redeemCode" in unit} == {
        "one": None,
        "two": "22",
    }
    assert [unit["status"] for unit in never["codes"]] == ["PROCESSING"]
    assert found["nextPollAfter"] > placed["createdAt"]
    assert (await caller.read(path, sku="DEMO-NEVER"))["codes"] == [never]
    assert (await caller.read(path, sku="OTHER"))["codes"] == []
    assert (await caller.read(path))["codes"] == found["codes"]


async def test_no_next_poll_once_it_has_ended(caller: Caller) -> None:
    placed = await caller.order(("DEMO-INSTANT", 2))
    found = await caller.read(f"{ORDERS}/{placed['transactionId']}/codes")
    assert (found["status"], "nextPollAfter" in found) == ("COMPLETED", False)


async def test_each_disclosure_leaves_a_line_without_codes(caller: Caller) -> None:
    placed = await caller.order(("DEMO-INSTANT", 2), ("DEMO-NEVER", 1))
    found = await caller.read(f"{ORDERS}/{placed['transactionId']}/codes")
    await caller.read(f"{ORDERS}/{placed['transactionId']}/codes", sku="DEMO-NEVER")
    (line,) = [line for line in caller.ledger.lines if line["what"] == "codes-disclosed"]
    assert (line["who"], line["codes"], line["transactionId"]) == ("good", 2, placed["transactionId"])
    assert not any(code in str(line) for units in found["codes"] for code in map(_code, units["codes"]) if code)


def _code(unit: Mapping[str, str]) -> str:
    return unit.get("redeemCode", "")


async def test_ten_reads_and_ten_orders_in_any_second(caller: Caller) -> None:
    paths = [ORDERS, V1 + "/invoices", V1 + "/purchase-orders"]
    statuses = [(await caller.hurry("GET", paths[n % 3])).status for n in range(12)]
    assert statuses == [200] * 10 + [429] * 2
    order = {"products": [{"sku": "CARD", "quantity": 1}]}
    statuses = [(await caller.hurry("POST", ORDERS, order)).status for _ in range(12)]
    assert statuses == [202] * 10 + [429] * 2
    refused = await caller.hurry("GET", ORDERS)
    assert int(refused.headers["Retry-After"]) >= 1
    assert (await caller.hurry("GET", ORDERS, who="other")).status == 200
    assert (await caller.client.get("/fulfilment/openapi.yaml")).status == 200
    caller.window_s[0] += 1.0
    assert (await caller.hurry("GET", ORDERS)).status == 200


async def test_idempotency_keys(caller: Caller) -> None:
    body, headers = {"products": [{"sku": "CARD", "quantity": 1}]}, {"Idempotency-Key": "k"}
    first, again = [await caller.call("POST", ORDERS, body, headers=headers) for _ in range(2)]
    assert (first.status, again.status, await first.read()) == (202, 202, await again.read())
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]
    other = await caller.call("POST", ORDERS, {**body, "clientOrderNumber": "n"}, headers=headers)
    await problem(other, 422, "IDEMPOTENCY_CONFLICT")
    assert (await caller.call("POST", ORDERS, body, headers=headers, who="other")).status == 202
    await problem(
        await caller.call("POST", ORDERS, body, headers={"Idempotency-Key": "k" * 256}), 400, "INVALID_IDEMPOTENCY_KEY"
    )


async def test_a_refused_order_leaves_its_key_free(caller: Caller) -> None:
    headers = {"Idempotency-Key": "k"}
    bad = await caller.call("POST", ORDERS, {"products": []}, headers=headers)
    await problem(bad, 422, "EMPTY_ORDER")
    good = await caller.call("POST", ORDERS, {"products": [{"sku": "CARD", "quantity": 1}]}, headers=headers)
    assert good.status == 202


async def test_an_unknown_outcome_names_the_transaction(caller: Caller) -> None:
    add = caller.shop.transactions.add

    async def stored_but_unanswered(transaction: Any) -> Any:
        await add(transaction)
        raise Away("MongoDB")

    body, headers = {"products": [{"sku": "CARD", "quantity": 1}]}, {"Idempotency-Key": "k"}
    caller.shop.transactions.add = stored_but_unanswered
    lost = await caller.call("POST", ORDERS, body, headers=headers)
    found = await problem(lost, 503, "STORE_UNAVAILABLE")
    assert int(lost.headers["Retry-After"]) >= 1
    caller.shop.transactions.add = add
    again = await caller.call("POST", ORDERS, body, headers=headers)
    assert (again.status, (await again.json())["transactionId"]) == (202, found["transactionId"])
    assert list(caller.shop.transactions.kept) == [found["transactionId"]]


async def test_lists_are_walked_page_by_page(caller: Caller) -> None:
    ids: list[str] = []
    for number in range(5):
        ids.insert(0, (await caller.order(("CARD", 1), clientOrderNumber=f"n{number}"))["transactionId"])
        caller.shop.clock.pass_(seconds=1)
    page = await caller.call("GET", ORDERS, rows="2")
    walked = []
    while True:
        body = await page.json()
        walked += [one["transactionId"] for one in body["result"]]
        if body["pagination"]["nextPageToken"] is None:
            break
        link = page.headers["Link"].partition(">")[0][1:]
        page = await caller.call("GET", link)
    assert walked == ids
    token = (await (await caller.call("GET", ORDERS, rows="2")).json())["pagination"]["nextPageToken"]
    for how in ({"page": token, "clientOrderNumber": "n1"}, {"page": "x"}):
        await problem(await caller.call("GET", ORDERS, **how), 400, "INVALID_PAGE_TOKEN")
    for how, code in (
        ({"rows": "0"}, "INVALID_ROWS"),
        ({"rows": "10001"}, "INVALID_ROWS"),
        ({"from": "yesterday"}, "INVALID_DATE"),
        ({"from": "0001-01-01"}, "INVALID_DATE"),
        ({"to": "9999-12-31"}, "INVALID_DATE"),
        ({"to": "2026-02-30"}, "INVALID_DATE"),
    ):
        await problem(await caller.call("GET", ORDERS, **how), 400, code)
    assert (await caller.read(ORDERS, rows="10000"))["pagination"] == {"rows": 10000, "count": 5, "nextPageToken": None}
    assert [one["transactionId"] for one in (await caller.read(ORDERS, clientOrderNumber="n1"))["result"]] == [ids[3]]


async def test_a_page_is_never_longer_than_can_be_held(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.fulfilment.query.LONGEST_PAGE", 2)
    for _ in range(3):
        await caller.order(("CARD", 1))
    page = await caller.read(ORDERS, rows="3")
    assert (page["pagination"]["rows"], page["pagination"]["count"]) == (3, 2)
    rest = await caller.read(ORDERS, rows="3", page=page["pagination"]["nextPageToken"])
    assert (rest["pagination"]["count"], rest["pagination"]["nextPageToken"]) == (1, None)


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ({"from": "2026-03-04"}, 2),
        ({"from": "2026-03-05"}, 1),
        ({"from": "2026-03-06"}, 0),
        ({"to": "2026-03-03"}, 0),
        ({"to": "2026-03-04"}, 1),
        ({"from": "2026-03-05", "to": "2026-03-05"}, 1),
        ({"from": "2026-03-04T12:00:00Z"}, 2),
        ({"from": "2026-03-04T21:00:00+09:00", "to": "2026-03-04T21:00:01 09:00"}, 1),
        ({"from": "2026-03-04T21:00:01"}, 1),
        ({"to": "2026-03-04T12:00:00Z"}, 0),
    ],
)
async def test_transactions_between_days_and_times_of_the_customer(
    caller: Caller, asked: dict[str, str], count: int
) -> None:
    """In Tokyo: one order on the 4th at 21:00, one on the 5th at 01:00."""
    caller.shop.register.zones[SITE] = ZoneInfo("Asia/Tokyo")
    await caller.order(("CARD", 1))
    caller.shop.clock.pass_(hours=4)
    await caller.order(("CARD", 1))
    assert len((await caller.read(ORDERS, **asked))["result"]) == count


async def test_the_days_purchase_order(caller: Caller) -> None:
    for _ in range(3):
        await caller.order(("CARD", 2), ("PENNY", 1))
    today = await caller.read(V1 + "/purchase-orders")
    (order,) = today["result"]
    assert (today["businessDate"], order["state"], order["totals"]["amount"]) == ("2026-03-04", "OPEN", "59.940003")
    whole = await caller.read(f"{V1}/purchase-orders/{order['id']}")
    assert whole == order
    assert len(whole["transactions"]) == 3
    whole = await caller.read(f"{V1}/purchase-orders/{order['id']}", rows="2")
    assert [(line["sku"], line["ordered"]) for line in whole["lines"]] == [("CARD", 6), ("PENNY", 3)]
    assert len(whole["transactions"]) == 2
    rest = await caller.read(f"{V1}/purchase-orders/{order['id']}", rows="2", page=whole["pagination"]["nextPageToken"])
    assert len(rest["transactions"]) == 1
    day = await caller.call("GET", V1 + "/purchase-orders", rows="2")
    assert (await day.json())["result"] == [whole]
    (last,) = (await caller.read(day.headers["Link"].partition(">")[0][1:]))["result"]
    assert last["transactions"] == rest["transactions"]
    assert (await caller.read(V1 + "/purchase-orders", date="2026-03-03"))["result"] == []
    await problem(await caller.call("GET", V1 + "/purchase-orders", date="20260304"), 400, "INVALID_DATE")


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("application/pdf", "application/pdf"),
        ("text/html", "text/html"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html"),
        ("application/pdf;q=0.5, application/json;q=0.4", "application/pdf"),
        ("application/*", "application/json"),
    ],
)
async def test_an_invoice_in_three_forms(caller: Caller, accept: str | None, kind: str) -> None:
    placed = await caller.order(("CARD", 1))
    caller.shop.clock.pass_(days=1)
    await caller.shop.close()
    (invoice,) = (await caller.read(V1 + "/invoices"))["result"]
    assert (invoice["number"], invoice["total"]) == ("2026-000001", "9.99")
    assert invoice["purchaseOrderId"] == placed["purchaseOrder"]["id"]
    shown = await caller.call("GET", f"{V1}/invoices/{invoice['id']}", headers={"Accept": accept} if accept else {})
    assert (shown.status, shown.content_type) == (200, kind)
    closed = await caller.read(f"{V1}/purchase-orders/{invoice['purchaseOrderId']}")
    assert (closed["state"], closed["invoiceId"]) == ("CLOSED", invoice["id"])
    refused = await caller.call("GET", f"{V1}/invoices/{invoice['id']}", headers={"Accept": "image/png"})
    await problem(refused, 406, "NOT_ACCEPTABLE")


async def test_products_and_stock(caller: Caller) -> None:
    product = {"name": "New", "unitPrice": 1.5, "currency": "eur"}
    put = [await caller.call("PUT", V1 + "/products/NEW", product) for _ in range(2)]
    assert [one.status for one in put] == [201, 200]
    assert (await put[0].json())["unitPrice"] == "1.50"
    loaded = await caller.call("POST", V1 + "/stock/NEW/codes", {"codes": ["a", "b", "a"]})
    assert await loaded.json() == {"sku": "NEW", "received": 3, "added": 2, "known": 1}
    await problem(await caller.call("POST", V1 + "/stock/NONE/codes", {"codes": ["c"]}), 404, "UNKNOWN_SKU")
    secret = "a secret " + "x" * 600
    refused = await caller.call("POST", V1 + "/stock/NEW/codes", {"codes": ["ok", secret]})
    assert "secret" not in json.dumps(await problem(refused, 422, "INVALID_VALUE"))
    nameless = await caller.call("PUT", V1 + "/products/NEW", {**product, "name": " "})
    assert [one["pointer"] for one in (await problem(nameless, 422, "INVALID_VALUE"))["errors"]] == ["/name"]
    bad = await caller.call("PUT", V1 + "/products/NEW", {"name": 1, "unitPrice": -1, "currency": "?"})
    found = await problem(bad, 422, "INVALID_TYPE")
    assert [one["pointer"] for one in found["errors"]] == ["/name", "/unitPrice", "/currency"]


async def test_unknown_methods(caller: Caller) -> None:
    response = await caller.client.delete(ORDERS)
    assert (response.status, response.headers["Allow"]) == (405, "GET, POST")
