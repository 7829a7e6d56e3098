"""Two replicas with one store (`RATE_LIMIT_URL`) share the limit of a client."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from services.chassis.http import shared_rate_limit
from services.chassis.http.server import HttpServer
from services.chassis.security.authentication import Caller, RequestAuthenticator
from services.chassis.security.tokens import Token
from services.status.app import build
from services.status.http.jobs import SCOPE
from services.status.settings import Settings
from services.values.sites import ApiKey, Site
from tests.support.valkey import Valkey

Replica = TestClient[web.Request, web.Application]
LIMIT = 10


@pytest.fixture
async def replicas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[Replica]]:
    """Two built services; only their servers are started."""

    async def caller(_authenticator: RequestAuthenticator, _request: web.Request) -> Caller:
        token = Token(
            client_id="c",
            site=608,
            api_keys=frozenset({"key"}),
            scopes=frozenset({SCOPE}),
            issued_at=0,
            expires_at=1,
            token_id="t",
        )
        site = Site(
            site=608,
            name="Demo",
            app_id=1078,
            root_source="omnichannel-api/qa",
            datacenter="qa",
            time_zone="UTC",
            api_keys=(ApiKey(api_key="key"),),
        )
        return Caller(token, site, "key")

    monkeypatch.setattr(RequestAuthenticator, "caller", caller)
    # On a busy machine the store may take longer, and each replica would limit on its own.
    monkeypatch.setattr(shared_rate_limit, "STORE_TIMEOUT_S", 5.0)
    store = Valkey(tmp_path)
    store.start()
    settings = Settings(
        mongodb_uri="mongodb://127.0.0.1:1/",
        kafka_bootstrap_servers="127.0.0.1:1",
        status_requests_per_second=LIMIT,
        rate_limit_url=store.url,
    )
    clients = []
    for _ in range(2):
        service = await build(settings)
        app = next(part._runner.app for part in reversed(service.components) if isinstance(part, HttpServer))
        clients.append(TestClient(TestServer(app)))
        await clients[-1].start_server()
    yield clients
    for client in clients:
        await client.close()
    store.kill()


async def test_two_replicas_accept_no_more_than_one(replicas: list[Replica]) -> None:
    """The allowed requests name no job, so that they need no database."""

    async def send(replica: Replica) -> int:
        async with replica.get("/common-status/v1/key/job/none/events") as response:
            return response.status

    while True:
        began = monotonic()
        statuses = await asyncio.gather(*[send(replica) for _ in range(LIMIT) for replica in replicas])
        # On a busy machine, a later second has its own ten.
        if monotonic() - began < 1:
            break
    assert statuses.count(404) <= LIMIT
    assert set(statuses) == {404, 429}
