"""The fulfilment API on fake stores, and a client that checks each response against the OpenAPI document."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer
from jsonschema import Draft202012Validator

from services.chassis.http.idempotency import Reservation, StoredResponse
from services.chassis.http.page_limits import PageLimits
from services.chassis.http.paging import PageTokenCodec
from services.chassis.http.rate_limit import RateLimit
from services.chassis.http.server import build_application
from services.chassis.http.shared_rate_limit import SharedRateLimit
from services.chassis.runtime.errors import Problem, UnauthorizedError
from services.chassis.security.authentication import RequestAuthenticator
from services.chassis.security.sites import Sites
from services.chassis.security.tokens import Token
from services.fulfilment.adapters.invoice_renderer import TemplateInvoiceRenderer
from services.fulfilment.app import new_id
from services.fulfilment.http.authentication import Authenticator
from services.fulfilment.http.invoices import InvoicesApi
from services.fulfilment.http.orders import OrdersApi
from services.fulfilment.http.stock import StockApi
from tests.fulfilment.harness import (
    CURRENCIES,
    OPENAPI,
    OTHER_SITE,
    SCHEMAS,
    SITE,
    Harness,
    build_memory_harness,
)
from tests.support.audit_log import FakeAuditLog

DOCUMENT = yaml.safe_load(OPENAPI.read_text(encoding="utf-8"))
V1 = "/fulfilment/v1"
ORDERS = V1 + "/orders"
ALL_SCOPES = frozenset({"orders:create", "orders:read", "codes:read", "invoices:read", "stock:write"})


class FakeVerifier:
    """Knows tokens by name: `bare` has no scope, `other` is another customer's, `lost` belongs to no known site."""

    def cached(self, token: str) -> Token | None:
        site = {"good": SITE, "colleague": SITE, "other": OTHER_SITE, "bare": SITE, "lost": 1}.get(token)
        if site is None:
            return None
        return Token(
            client_id=token,
            site=site,
            api_keys=frozenset(),
            scopes=frozenset() if token == "bare" else ALL_SCOPES,
            issued_at=0,
            expires_at=2**40,
            token_id="t",
        )

    async def verify(self, token: str) -> Token:
        raise UnauthorizedError(f"unknown token of {len(token)} characters")


class FakeIdempotencyKeys:
    """Idempotency keys in memory; while unavailable, no reservation ends."""

    def __init__(self) -> None:
        self.stored: dict[tuple[str, str], tuple[bytes, str, StoredResponse | None]] = {}
        self.is_unavailable = False

    async def reserve(self, client: str, key: str, body: bytes, new: Callable[[], str]) -> Reservation | StoredResponse:
        stored = self.stored.get((client, key))
        if stored is None:
            resource_id = new()
            self.stored[client, key] = (body, resource_id, None)
            return Reservation(f"{client}|{key}", resource_id, "me")
        stored_body, resource_id, response = stored
        if stored_body != body:
            raise Problem(422, "IDEMPOTENCY_CONFLICT", "another body")
        return response or Reservation(f"{client}|{key}", resource_id, "me", is_retry=True)

    async def complete(self, reservation: Reservation, response: StoredResponse) -> None:
        if self.is_unavailable:
            return
        client, _, key = reservation.key.partition("|")
        body, resource_id, _ = self.stored[client, key]
        self.stored[client, key] = (body, resource_id, response)

    async def release_for_retry(self, reservation: Reservation) -> None:
        pass

    async def discard(self, reservation: Reservation) -> None:
        if self.is_unavailable:
            return
        client, _, key = reservation.key.partition("|")
        del self.stored[client, key]


@dataclass
class ApiClient:
    """A client of the API."""

    client: TestClient[Any, Any]
    harness: Harness
    audit_log: FakeAuditLog
    keys: FakeIdempotencyKeys
    window_s: list[float]
    page_limits: PageLimits

    async def call(
        self, method: str, path: str, body: Any = None, *, token: str = "good", headers: Any = None, **query: Any
    ) -> ClientResponse:
        self.window_s[0] += 1.0  # so that no request meets a rate limit by accident
        return await self.call_without_pause(method, path, body, token=token, headers=headers, **query)

    async def call_without_pause(
        self, method: str, path: str, body: Any = None, *, token: str = "good", headers: Any = None, **query: Any
    ) -> ClientResponse:
        sent = {"Authorization": f"Bearer {token}", **(headers or {})}
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        response = await self.client.request(method, path, data=data, params=query, headers=sent)
        await assert_matches_openapi(response)
        return response

    async def order(self, *lines: tuple[str, int], **fields: Any) -> Any:
        body = {"products": [{"sku": sku, "quantity": quantity} for sku, quantity in lines], **fields}
        response = await self.call("POST", ORDERS, body)
        assert response.status == 202, await response.text()
        return await response.json()

    async def read(self, path: str, **query: Any) -> Any:
        response = await self.call("GET", path, **query)
        assert response.status == 200, await response.text()
        return await response.json()


async def assert_matches_openapi(response: ClientResponse) -> None:
    """The response is one that the OpenAPI document describes."""
    resource = next((path for path in DOCUMENT["paths"] if _matches(path, response.url.path)), None)
    if resource is None:
        return
    operation = DOCUMENT["paths"][resource].get(response.method.lower())
    if operation is None:
        assert response.status == 405
        return
    described = operation["responses"].get(str(response.status))
    assert described is not None, f"{response.method} {resource} answers {response.status}"
    described = _resolve(described)
    media_type = response.content_type
    assert media_type in described["content"], media_type
    if media_type.endswith("json"):
        schema = described["content"][media_type]["schema"]
        Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(
            json.loads(await response.text())
        )


def _matches(template: str, path: str) -> bool:
    expected, actual = template.split("/"), path.split("/")
    return len(expected) == len(actual) and all(
        a == b or a.startswith("{") for a, b in zip(expected, actual, strict=True)
    )


def _resolve(node: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in node:
        return node
    found: Any = DOCUMENT
    for part in node["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return _resolve(found)


@pytest.fixture
async def api() -> AsyncIterator[ApiClient]:
    harness, audit_log, keys, window_s = build_memory_harness(), FakeAuditLog(), FakeIdempotencyKeys(), [0.0]
    authenticator = Authenticator(
        requests=RequestAuthenticator(FakeVerifier(), Sites(SCHEMAS)),  # type: ignore[arg-type]
        customers=harness.customers,
        is_started=lambda: True,
        rate_limit=SharedRateLimit(RateLimit(clock=lambda: window_s[0]), url=None),
        reads_per_second=10,
        orders_per_second=10,
    )
    page_tokens = PageTokenCodec("a secret of sixteen", salt="test")
    page_limits = PageLimits("the fulfilment API", authenticator.requests.recent_clients)
    orders = OrdersApi(
        authenticator=authenticator,
        place_order_deps=harness.place_order_deps,
        get_codes_deps=harness.get_codes_deps,
        transactions=harness.transactions,
        idempotency=keys,  # type: ignore[arg-type]
        page_tokens=page_tokens,
        page_limits=page_limits,
        audit=audit_log,
        new_id=new_id,
        body_timeout_s=0.3,
        openapi=OPENAPI,
    )
    stock = StockApi(
        authenticator=authenticator,
        deps=harness.load_stock_deps,
        audit=audit_log,
        currencies=CURRENCIES,
        suppliers=harness.suppliers.keys(),
        body_timeout_s=0.3,
    )
    invoices = InvoicesApi(
        authenticator=authenticator,
        purchase_orders=harness.purchase_orders,
        transactions=harness.transactions,
        invoices=harness.invoices,
        renderer=TemplateInvoiceRenderer(),
        page_tokens=page_tokens,
        page_limits=page_limits,
        now_us=harness.clock,
    )
    routes = [*orders.routes(), *stock.routes(), *invoices.routes()]
    async with TestClient(TestServer(build_application(routes, max_body_bytes=2**20))) as client:
        yield ApiClient(client, harness, audit_log, keys, window_s, page_limits)


async def assert_problem(response: ClientResponse, status: int, code: str) -> Any:
    body = await response.json(content_type=None)
    assert (response.status, body["code"], response.content_type) == (status, code, "application/problem+json"), body
    return body
