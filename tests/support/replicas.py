"""Two replicas of a service that share their rate limits in one store (`RATE_LIMIT_URL`)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import monotonic

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from services.chassis.http import shared_rate_limit
from services.chassis.http.server import HttpServer
from services.chassis.runtime.lifecycle import Service
from tests.support.valkey import Valkey

Replica = TestClient[web.Request, web.Application]


@asynccontextmanager
async def two_replicas(
    build: Callable[[str], Awaitable[Service]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[list[Replica]]:
    """Build two services with the store's URL; only their servers are started."""
    # On a busy machine the store may take longer, and each replica would limit on its own.
    monkeypatch.setattr(shared_rate_limit, "STORE_TIMEOUT_S", 5.0)
    async with AsyncExitStack() as cleanup:
        store = Valkey(tmp_path)
        store.start()
        cleanup.callback(store.kill)
        clients = []
        for _ in range(2):
            service = await build(store.url)
            for part in service.components:
                if isinstance(part, shared_rate_limit.SharedRateLimit):
                    cleanup.push_async_callback(part.stop)
            app = next(part._runner.app for part in reversed(service.components) if isinstance(part, HttpServer))
            clients.append(await cleanup.enter_async_context(TestClient(TestServer(app))))
        yield clients


async def statuses_within_a_second(
    replicas: Sequence[Replica], send: Callable[[Replica], Awaitable[int]], *, count: int
) -> list[int]:
    """Send `count` requests to each replica at the same time, again until all are within one second."""
    while True:
        began = monotonic()
        statuses = await asyncio.gather(*[send(replica) for _ in range(count) for replica in replicas])
        # On a busy machine, a later second has its own limit, or the round before has used it up.
        if monotonic() - began < 1 and set(statuses) != {429}:
            return statuses
