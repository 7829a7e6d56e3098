"""Clients' requests over HTTP, each through the proxy of a replica chosen by chance."""

import asyncio
import gzip
import json
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import aiohttp

from tests.faults.checker.api import NoAnswerError, Response
from tests.faults.stack.installation import Installation
from tests.faults.stack.tenants import Tenant

TIMEOUT_S = 20.0
# The service of each API, and where its paths begin; `{}` is the API key.
APIS = {
    "import": ("ingest", "/omnichannel/api/v1", "/omnichannel/api/v1/{}"),
    "status": ("status", "/common-status/v1", "/common-status/v1/{}"),
    "fulfilment": ("fulfilment", "/fulfilment/v1", "/fulfilment/v1"),
    "events": ("webhooks", "/events/v1", "/events/v1/{}"),
    "ledger": ("ledger", "/ledger/v1", "/ledger/v1/{}"),
}
# Larger bodies are sent compressed, as clients are told to.
MIN_ZIPPED = 1_000


@dataclass
class HttpApi:
    """The API of one tenant. `answers` counts what came back, by API and status; 0 means nothing."""

    installation: Installation
    tenant: Tenant
    rng: random.Random
    session: aiohttp.ClientSession
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    _tokens: dict[str, str] = field(default_factory=dict)

    async def call(
        self, service: str, method: str, path: str, *, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Return the response; raises `NoAnswerError`."""
        kind, _, base = APIS[service]
        url = self._address(kind) + base.format(self.tenant.api_key) + path
        sent = {"Authorization": f"Bearer {await self._token(service)}", **(headers or {})}
        data = None
        if body is not None:
            sent["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
            if service == "import" and len(data) > MIN_ZIPPED:
                data, sent["Content-Encoding"] = gzip.compress(data, 1, mtime=0), "gzip"
        try:
            response = await self._request(method, url, data=data, headers=sent)
        except NoAnswerError:
            self.answers[service, 0] += 1
            raise
        self.answers[service, response.status] += 1
        if response.status == 401:
            self._tokens.pop(service, None)
        return response

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    def now(self) -> float:
        """The monotonic time."""
        return monotonic()

    async def _token(self, service: str) -> str:
        if service not in self._tokens:
            url = self._address("auth") + APIS[service][1] + "/oauth2/token"
            form = {
                "grant_type": "client_credentials",
                "client_id": self.tenant.client_id,
                "client_secret": self.tenant.secret,
            }
            response = await self._request("POST", url, data=form)
            if response.status != 200:
                self.answers["auth", response.status] += 1
                await asyncio.sleep(0.3)
                raise NoAnswerError(f"no token: {response.status}")
            self._tokens[service] = response.json["access_token"]
        return self._tokens[service]

    def _address(self, kind: str) -> str:
        return f"http://127.0.0.1:{self.rng.choice(self.installation.of(kind)).proxy.port}"

    async def _request(self, method: str, url: str, **options: Any) -> Response:
        try:
            async with self.session.request(method, url, **options) as response:
                return Response(response.status, dict(response.headers), await response.read())
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise NoAnswerError(repr(error)) from None


def new_session() -> aiohttp.ClientSession:
    """A session for many concurrent requests with a timeout."""
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))
    # aiohttp would send a PUT again if the first one is not answered: the ledger would know of one attempt of two.
    session._retry_connection = False
    return session
