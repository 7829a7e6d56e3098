"""Two replicas with one store (`RATE_LIMIT_URL`) share the limit of a client."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from services.chassis.runtime.background import StartupTask
from services.chassis.runtime.lifecycle import Service
from services.chassis.security.authentication import Caller, RequestAuthenticator
from services.chassis.security.tokens import Token
from services.status.app import build
from services.status.http.jobs import SCOPE
from services.status.settings import Settings
from services.values.sites import ApiKey, Site
from tests.support.replicas import Replica, statuses_within_a_second, two_replicas

LIMIT = 10


@pytest.fixture
async def replicas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[Replica]]:
    """Two replicas for which every request is authenticated."""

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

    async def build_replica(rate_limit_url: str) -> Service:
        service = await build(
            Settings(
                mongodb_uri="mongodb://127.0.0.1:1/",
                kafka_bootstrap_servers="127.0.0.1:1",
                status_requests_per_second=LIMIT,
                rate_limit_url=rate_limit_url,
            )
        )
        next(part for part in service.components if isinstance(part, StartupTask)).is_done = True
        return service

    async with two_replicas(build_replica, tmp_path, monkeypatch) as started:
        yield started


async def test_two_replicas_accept_no_more_than_one(replicas: list[Replica]) -> None:
    """The allowed requests name no job, so that they need no database."""

    async def send(replica: Replica) -> int:
        async with replica.get("/common-status/v1/key/job/none/events") as response:
            return response.status

    statuses = await statuses_within_a_second(replicas, send, count=LIMIT)
    assert statuses.count(404) <= LIMIT
    assert set(statuses) == {404, 429}
