"""Two replicas with one store (`RATE_LIMIT_URL`) share the limits of a client."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from services.chassis.http import shared_rate_limit
from services.chassis.http.server import HttpServer
from services.chassis.runtime.background import StartupTask
from services.chassis.security.tokens import Token
from services.fulfilment.app import build
from services.fulfilment.domain.customer import BillingDetails, Customer
from services.fulfilment.http.authentication import Authenticator, Caller
from services.fulfilment.settings import Settings
from tests.fulfilment.api_fixtures import ORDERS
from tests.fulfilment.harness import SITE
from tests.fulfilment.test_suppliers import KEY
from tests.support.valkey import Valkey

Replica = TestClient[web.Request, web.Application]


@pytest.fixture
async def replicas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[Replica]]:
    """Two built services as if their indexes existed; only their servers are started."""

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
    # On a busy machine the store may take longer, and each replica would limit on its own.
    monkeypatch.setattr(shared_rate_limit, "STORE_TIMEOUT_S", 5.0)
    store = Valkey(tmp_path)
    store.start()
    settings = Settings(
        mongodb_uri="mongodb://127.0.0.1:1/",
        kafka_bootstrap_servers="127.0.0.1:1",
        code_encryption_keys=KEY,
        code_digest_key=KEY,
        rate_limit_url=store.url,
    )
    clients = []
    for _ in range(2):
        service = await build(settings)
        next(part for part in service.components if isinstance(part, StartupTask)).is_done = True
        app = next(part._runner.app for part in reversed(service.components) if isinstance(part, HttpServer))
        clients.append(TestClient(TestServer(app)))
        await clients[-1].start_server()
    yield clients
    for client in clients:
        await client.close()
    store.kill()


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_two_replicas_accept_no_more_than_one(replicas: list[Replica], method: str) -> None:
    """The allowed requests are invalid, so that they need no database."""
    query: Any = {"rows": "none"} if method == "GET" else {}
    body: Any = None if method == "GET" else []

    async def send(replica: Replica) -> int:
        async with replica.request(method, ORDERS, params=query, json=body) as response:
            return response.status

    while True:
        began = monotonic()
        statuses = await asyncio.gather(*[send(replica) for _ in range(10) for replica in replicas])
        # On a busy machine, a later second has its own ten.
        if monotonic() - began < 1:
            break
    assert statuses.count(400) <= 10
    assert set(statuses) == {400, 429}
