"""Two replicas with one store (`RATE_LIMIT_URL`) share the limits of a client."""

from collections.abc import AsyncIterator
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from services.chassis.runtime.background import StartupTask
from services.chassis.runtime.lifecycle import Service
from services.chassis.security.tokens import Token
from services.fulfilment.app import build
from services.fulfilment.domain.customer import BillingDetails, Customer
from services.fulfilment.http.authentication import Authenticator, Caller
from services.fulfilment.settings import Settings
from tests.fulfilment.api_fixtures import ORDERS
from tests.fulfilment.harness import SITE
from tests.fulfilment.test_suppliers import KEY
from tests.support.replicas import Replica, statuses_within_a_second, two_replicas


@pytest.fixture
async def replicas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[Replica]]:
    """Two replicas as if their indexes existed, for which every request is authenticated."""

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

    async def build_replica(rate_limit_url: str) -> Service:
        settings = Settings(
            mongodb_uri="mongodb://127.0.0.1:1/",
            kafka_bootstrap_servers="127.0.0.1:1",
            code_encryption_keys=KEY,
            code_digest_key=KEY,
            rate_limit_url=rate_limit_url,
        )
        service = await build(settings)
        next(part for part in service.components if isinstance(part, StartupTask)).is_done = True
        return service

    async with two_replicas(build_replica, tmp_path, monkeypatch) as started:
        yield started


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_two_replicas_accept_no_more_than_one(replicas: list[Replica], method: str) -> None:
    """The allowed requests are invalid, so that they need no database."""
    query: Any = {"rows": "none"} if method == "GET" else {}
    body: Any = None if method == "GET" else []

    async def send(replica: Replica) -> int:
        async with replica.request(method, ORDERS, params=query, json=body) as response:
            return response.status

    statuses = await statuses_within_a_second(replicas, send, count=10)
    assert statuses.count(400) <= 10
    assert set(statuses) == {400, 429}
