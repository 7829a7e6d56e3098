"""Suppliers of an installation: which ones the API accepts, and the orders of one that was removed."""

import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from services.chassis.http.server import HttpServer
from services.chassis.runtime.background import StartupTask
from services.chassis.security.tokens import Token
from services.fulfilment.adapters.suppliers import build_suppliers
from services.fulfilment.app import build
from services.fulfilment.domain.customer import BillingDetails, Customer
from services.fulfilment.domain.transaction import TransactionStatus
from services.fulfilment.flows import fulfil
from services.fulfilment.http.authentication import Authenticator, Caller
from services.fulfilment.settings import Settings
from tests.fulfilment.api_fixtures import V1, assert_problem
from tests.fulfilment.harness import CIPHER, SITE, Harness

KEY = base64.b64encode(b"k" * 32).decode()
Api = TestClient[web.Request, web.Application]


@pytest.fixture
async def api(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    """The built service's API for a caller with all rights, as if its indexes existed; nothing is started."""

    async def authenticate(_authenticator: Authenticator, _request: web.Request, scope: str) -> Caller:
        token = Token(
            client_id="c",
            site=SITE,
            api_keys=frozenset(),
            scopes=frozenset({scope}),
            issued_at=0,
            expires_at=1,
            token_id="t",
        )
        return Caller(token, Customer(UTC, BillingDetails(SITE, "Customer", None)))

    monkeypatch.setattr(Authenticator, "authenticate", authenticate)
    settings = Settings(
        mongodb_uri="mongodb://127.0.0.1:1/",
        kafka_bootstrap_servers="127.0.0.1:1",
        code_encryption_keys=KEY,
        code_digest_key=KEY,
        simulated_supplier=request.param,
    )
    service = await build(settings)
    next(part for part in service.components if isinstance(part, StartupTask)).is_done = True
    app = next(part._runner.app for part in reversed(service.components) if isinstance(part, HttpServer))
    async with TestClient(TestServer(app)) as client:
        yield client


@pytest.mark.parametrize(
    ("api", "supplier", "names"),
    [(False, "simulated", "stock"), (True, "simulatd", "simulated, stock")],
    indirect=["api"],
    ids=["removed", "slip"],
)
async def test_the_api_takes_the_suppliers_that_the_settings_say_there_are(api: Api, supplier: str, names: str) -> None:
    product = {"name": "New", "unitPrice": 1, "currency": "EUR", "supplier": supplier}
    async with api.put(V1 + "/products/NEW", json=product) as response:
        found: Any = await assert_problem(response, 422, "INVALID_VALUE")
    assert found["errors"] == [
        {"pointer": "/supplier", "code": "INVALID_VALUE", "detail": f"supplier must be one of {names}"}
    ]


async def test_orders_from_a_supplier_that_was_removed_wait_and_are_served_once_it_is_back(harness: Harness) -> None:
    """Existing products keep its name, and so do their orders, new ones included."""
    ids = [(await harness.place(("DEMO-INSTANT", 2), ("CARD", 1))).transaction.id for _ in range(2)]
    await harness.load("CARD", "one", "two")
    for is_simulated, expected in (
        (False, (TransactionStatus.PROCESSING, [0, 1])),
        (True, (TransactionStatus.COMPLETED, [2, 1])),
    ):
        suppliers = build_suppliers(harness.stock, CIPHER.seal, is_simulated=is_simulated)
        for transaction_id in ids:
            found = await fulfil.fulfil(transaction_id, replace(harness.fulfil_deps, suppliers=suppliers))
            assert found is not None
            assert (found.status, [line.delivered for line in found.lines]) == expected
