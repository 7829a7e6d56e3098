"""No service acts before its startup has succeeded: until then, indexes may be missing, and keys are not checked."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from services.chassis.http.server import HttpServer
from services.chassis.kafka.broker_clock import BrokerClock
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.background import BackgroundTask, StartupTask
from services.chassis.runtime.errors import UnavailableError
from services.chassis.security.access import RequestSecurity
from services.chassis.security.authentication import RequestAuthenticator
from services.chassis.security.tokens import Token
from services.values.sites import ApiKey, Site
from tests.deploy.test_page_token_keys import OTHER_KEYS, SERVICES, database

__all__ = ["database"]

SCOPES = frozenset({"status:read", "orders:read", "sales:read", "sales:erase", "events:read"})
TOKEN = Token(
    client_id="client",
    site=608,
    api_keys=frozenset({"12345"}),
    scopes=SCOPES,
    issued_at=0,
    expires_at=2**40,
    token_id="t",
)
SITE = Site(site=608, name="", app_id=1, root_source="", datacenter="", api_keys=(ApiKey(api_key="12345"),))
# With another key, an erasure is stored under another fingerprint, and a page token is refused for good.
REQUESTS = (
    ("ledger", "DELETE", "/ledger/v1/12345/users/u1", 202),
    ("ledger", "GET", "/ledger/v1/12345/users/u1/orders?page=x", 400),
    ("status", "GET", "/common-status/v1/12345/jobs?page=x", 400),
    ("webhooks", "GET", "/events/v1/12345/events?after=x", 400),
    ("fulfilment", "GET", "/fulfilment/v1/orders?page=x", 403),
)


class FakeSites:
    def by_api_key(self, _api_key: str) -> Site:
        return SITE


# All tasks of the services that use the database; those of status are in its own suite.
TASKS = {
    "ledger": {"fold", "publish", "pending-movements", "erase", "retention", "audit"},
    "fulfilment": {"sweep", "measure", "close", "kafka relay", "mail relay"},
    "webhooks": {"feed relay", "mail relay", "dispatcher", "endpoints"},
}


@asynccontextmanager
async def service(name: str, uri: str, database: str) -> AsyncIterator[tuple[StartupTask, str]]:
    """A service of which only the API runs; yields its startup task and its address."""
    build, settings = SERVICES[name]
    values = {"mongodb_uri": uri, "mongodb_database": database, "http_port": 0, **OTHER_KEYS}
    built = await build(settings.model_validate({key: values[key] for key in values if key in settings.model_fields}))
    (startup,) = [part for part in built.components if isinstance(part, StartupTask)]
    *_, server = [part for part in built.components if isinstance(part, HttpServer)]
    await server.start()
    try:
        yield startup, f"http://{server.address}"
    finally:
        await server.stop()
        for part in built.components:
            if isinstance(part, Mongo):
                await part.stop()


async def accept_any_token(authenticator: Any, _request: web.Request) -> Token:
    authenticator._sites = FakeSites()
    return TOKEN


@pytest.mark.parametrize(("name", "method", "path", "status"), REQUESTS)
async def test_nothing_is_answered_before(
    mongodb_uri: str,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    method: str,
    path: str,
    status: int,
) -> None:
    monkeypatch.setattr(RequestAuthenticator, "token", accept_any_token)
    async with service(name, mongodb_uri, database) as (startup, address), aiohttp.ClientSession(address) as session:
        async with session.request(method, path) as response:
            problem = await response.json(content_type=None)
            assert (response.status, problem["code"]) == (503, "UNAVAILABLE"), problem
            assert "still starting" in problem["detail"]
            assert response.headers["Retry-After"]
        await startup.run_once()
        async with session.request(method, path) as response:
            assert response.status == status, await response.text()


@pytest.mark.parametrize("name", TASKS)
async def test_no_task_uses_the_database_before(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Breaks: a new database, and one that was restored without indexes, which tasks rely on or name."""
    monkeypatch.setattr(BrokerClock, "is_known", True)
    monkeypatch.setattr(RequestSecurity, "sites_loaded", True)
    build, settings = SERVICES[name]
    values = {
        "mongodb_uri": "mongodb://127.0.0.1:1/",
        "mongodb_timeout_ms": 100,
        "kafka_bootstrap_servers": "127.0.0.1:1",
        "smtp_url": "smtp://127.0.0.1:1",
        **OTHER_KEYS,
    }
    built = await build(settings.model_validate({key: values[key] for key in values if key in settings.model_fields}))
    (startup,) = [part for part in built.components if isinstance(part, StartupTask)]
    tasks = [part for part in built.components if isinstance(part, BackgroundTask) and part is not startup]
    try:
        assert await names_of_those_without_database(tasks) == set()
        startup.is_done = True
        assert await names_of_those_without_database(tasks) == TASKS[name]
    finally:
        for part in built.components:
            if isinstance(part, Mongo):
                await part.stop()


async def names_of_those_without_database(tasks: Iterable[BackgroundTask]) -> set[str]:
    """Run each task once; return the names of those that need a database, which does not respond."""
    found = set()
    for task in tasks:
        try:
            await task._step()
        except UnavailableError as error:
            if error.dependency == "MongoDB":
                found.add(task._name)
    return found
