"""Two replicas of the ledger, and of webhooks, with one store (`RATE_LIMIT_URL`) share the limit of a client.

Those of status and fulfilment are tested in their own suites, as is the store's failure.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from services.chassis.runtime.background import StartupTask
from services.chassis.runtime.lifecycle import Service
from services.chassis.security.authentication import Caller, RequestAuthenticator
from tests.deploy.test_not_started import SITE, TOKEN
from tests.deploy.test_page_token_keys import OTHER_KEYS, SERVICES
from tests.support.replicas import Replica, statuses_within_a_second, two_replicas

LIMIT = 10
# Invalid requests, which count and need no database.
PATHS = {"ledger": "/ledger/v1/12345/users/u1/orders?page=x", "webhooks": "/events/v1/12345/events?after=x"}


@pytest.fixture(params=PATHS)
async def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def replicas(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[Replica]]:
    """Two replicas as if their startup had succeeded, for which every request is authenticated."""

    async def caller(_authenticator: RequestAuthenticator, _request: web.Request) -> Caller:
        return Caller(TOKEN, SITE, "12345")

    monkeypatch.setattr(RequestAuthenticator, "caller", caller)

    async def build_replica(rate_limit_url: str) -> Service:
        build, settings = SERVICES[name]
        values = {
            "mongodb_uri": "mongodb://127.0.0.1:1/",
            "kafka_bootstrap_servers": "127.0.0.1:1",
            "rate_limit_url": rate_limit_url,
            f"{name}_requests_per_second": LIMIT,
            **OTHER_KEYS,
        }
        known = {key: value for key, value in values.items() if key in settings.model_fields}
        service: Service = await build(settings.model_validate(known))
        next(part for part in service.components if isinstance(part, StartupTask)).is_done = True
        return service

    async with two_replicas(build_replica, tmp_path, monkeypatch) as started:
        yield started


async def test_two_replicas_accept_no_more_than_one(name: str, replicas: list[Replica]) -> None:
    async def send(replica: Replica) -> int:
        async with replica.get(PATHS[name]) as response:
            return response.status

    statuses = await statuses_within_a_second(replicas, send, count=LIMIT)
    assert statuses.count(400) <= LIMIT
    assert set(statuses) == {400, 429}
