"""The client of `bench.attacks` that stays within its limits: sends requests on schedule, and measures them."""

import asyncio
import gc
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from itertools import cycle
from pathlib import Path
from time import perf_counter
from typing import Any

import aiohttp
from msgspec import Struct

from bench.attackers import EVENTS, FULFILMENT, IMPORT, LEDGER, STATUS

APIS = (IMPORT, STATUS, FULFILMENT, LEDGER, EVENTS)
# Of the second demo site. There are several because a client may send ten requests a second to fulfilment.
SITE, API_KEY, CLIENTS = 609, "67890", 5
SECRET = "not-a-secret-it-exists-in-a-benchmark-only"  # noqa: S105 - loaded into throw-away sandboxes only
SCOPES = ["orders:write", "status:read", "orders:create", "orders:read", "events:read", "sales:read"]
# Requests per second of all together: hundreds in a measurement, or its p99 would be one of them. Ten tokens a second
# are a tenth of a core.
RATES = {"ingest": 40.0, "status": 40.0, "fulfilment": 40.0, "ledger": 40.0, "webhooks": 40.0, "auth": 10.0}
LAG_SAMPLE_S = 0.005


class Measurement(Struct):
    """Response times since the requests were due, and how late timers of this process were, in seconds."""

    times_s: list[float]
    lags_s: list[float]
    errors: Counter[str]

    def add(self, other: "Measurement") -> None:
        """Add another measurement of the same."""
        self.times_s += other.times_s
        self.lags_s += other.lags_s
        self.errors += other.errors


def nothing_measured() -> Measurement:
    """A measurement to add others to."""
    return Measurement([], [], Counter())


def prefer_this_process() -> bool:
    """Let this thread run as soon as it can, if that is allowed, and free of pauses: its delays are not the services'.

    Threads and processes that it starts are not preferred.
    """
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    except (OSError, AttributeError):
        return False
    return True


def write_clients(directory: Path) -> Path:
    """Write the tenants document of the clients."""
    document = directory / "good-clients.json"
    clients = [
        {"clientId": _client_id(number), "secret": SECRET, "site": SITE, "apiKeys": [API_KEY], "scopes": SCOPES}
        for number in range(CLIENTS)
    ]
    document.write_text(json.dumps({"sites": [], "clients": clients}))
    return document


class GoodClient:
    """Requests of one site's clients, one after the other's, through the gateway."""

    def __init__(self, session: aiohttp.ClientSession, gateway: str) -> None:
        self._session = session
        self._gateway = gateway
        self._headers: list[Mapping[str, Mapping[str, str]]] = []
        self._job = self._transaction = ""

    async def prepare(self) -> None:
        """Get tokens, and create what is asked for later."""
        for number in range(CLIENTS):
            client = (_client_id(number), SECRET)
            self._headers.append({api: bearer(await self.get_token(api, client)) for api in APIS})
        headers = self._headers[0]
        self._job = await self.import_orders(headers[IMPORT], API_KEY)
        self._transaction = await self.place_order(headers[FULFILMENT])

    async def measure(self, service: str, meanwhile: Callable[[], Awaitable[object]]) -> Measurement:
        """Send requests to the service on schedule until `meanwhile` returns."""
        measured, rate = nothing_measured(), RATES[service]
        clients = cycle(range(CLIENTS))

        async def request(due_s: float, client: int) -> None:
            try:
                async with self._request(service, client) as response:
                    await response.read()
                    if response.status >= 300:
                        measured.errors[str(response.status)] += 1
            except aiohttp.ClientError:
                measured.errors["reset"] += 1
            measured.times_s.append(perf_counter() - due_s)

        async def request_on_schedule() -> None:
            began_s, number = perf_counter(), 0
            async with asyncio.TaskGroup() as group:
                while not is_over.is_set():
                    due_s = began_s + number / rate
                    await asyncio.sleep(max(due_s - perf_counter(), 0))
                    group.create_task(request(due_s, next(clients)))
                    number += 1

        is_over = asyncio.Event()
        async with _lags(measured.lags_s):
            requests = asyncio.create_task(request_on_schedule())
            try:
                await meanwhile()
            finally:
                is_over.set()
                await requests
        return measured

    def _request(self, service: str, client: int) -> Any:
        headers, gateway = self._headers[client], self._gateway
        if service == "auth":
            return self._session.post(f"{gateway}{IMPORT}/oauth2/token", data=_form(_client_id(client), SECRET))
        if service == "ingest":
            url = f"{gateway}{IMPORT}/{API_KEY}/orders/users/u1"
            return self._session.put(url, json=an_order(), headers=headers[IMPORT])
        api, path = {
            "status": (STATUS, f"/{API_KEY}/job/{self._job}/events"),
            "fulfilment": (FULFILMENT, f"/orders/{self._transaction}"),
            "ledger": (LEDGER, f"/{API_KEY}/users/u1/orders"),
            "webhooks": (EVENTS, f"/{API_KEY}/events"),
        }[service]
        return self._session.get(f"{gateway}{api}{path}", headers=headers[api])

    async def get_token(self, api: str, client: tuple[str, str]) -> str:
        """A token of an API for a client's id and secret."""
        url = f"{self._gateway}{api}/oauth2/token"
        async with self._session.post(url, data=_form(*client)) as response:
            response.raise_for_status()
            return str((await response.json())["access_token"])

    async def import_orders(self, headers: Mapping[str, str], api_key: str) -> str:
        """Import fifty orders; return their job."""
        url = f"{self._gateway}{IMPORT}/{api_key}/orders"
        async with self._session.post(url, json=[an_order()] * 50, headers=headers) as response:
            response.raise_for_status()
            return str((await response.json())["jobId"])

    async def place_order(self, headers: Mapping[str, str]) -> str:
        """Order a code; return the transaction."""
        body = {"products": [{"sku": "DEMO-INSTANT", "quantity": 1}]}
        async with self._session.post(f"{self._gateway}{FULFILMENT}/orders", json=body, headers=headers) as response:
            response.raise_for_status()
            return str((await response.json())["transactionId"])


def an_order() -> dict[str, Any]:
    """An order of one line."""
    return {
        "id": "attacked",
        "userId": "u1",
        "dateTime": "2024-05-01T10:00:00+02:00",
        "lineItems": [{"productId": "4556", "quantity": 1, "unitPrice": 9.99}],
    }


def bearer(token: str) -> dict[str, str]:
    """The headers of a request with this token."""
    return {"Authorization": f"Bearer {token}"}


def _client_id(number: int) -> str:
    return f"good{number:012d}"


def _form(client_id: str, secret: str) -> dict[str, str]:
    return {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}


@asynccontextmanager
async def _lags(lags_s: list[float]) -> AsyncIterator[None]:
    """Measure during the block how late this process's timers are."""

    async def sample() -> None:
        while True:
            due_s = perf_counter() + LAG_SAMPLE_S
            await asyncio.sleep(LAG_SAMPLE_S)
            lags_s.append(max(perf_counter() - due_s, 0.0))

    task = asyncio.create_task(sample())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
