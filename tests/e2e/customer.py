"""A customer of a running installation: knows its base URL and credentials, and nothing of its inside."""

import asyncio
import gzip
import json
from dataclasses import dataclass, field
from itertools import count
from time import monotonic
from typing import Any
from uuid import uuid4

import aiohttp

BASES = {
    "import": "/omnichannel/api/v1",
    "status": "/common-status/v1",
    "fulfilment": "/fulfilment/v1",
    "events": "/events/v1",
    "ledger": "/ledger/v1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A customer's credentials."""

    client_id: str
    secret: str
    api_key: str


DEMO = Tenant(client_id="5934de97c95e1ced", secret="2l9dr0jkink11ad49hg93it52d", api_key="12345")
SECOND = Tenant(client_id="7a81c2f04be96d35", secret="k3v09qmdw7pz1r5x8tj2bn6hcf", api_key="67890")


@dataclass(frozen=True, slots=True)
class Reply:
    """A response with its complete body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The problem's `code`."""
        return str(self.json["code"])


@dataclass(slots=True)
class Customer:
    """An HTTP client of the gateway."""

    base: str
    session: aiohttp.ClientSession
    tenant: Tenant = DEMO
    tokens: dict[str, str] = field(default_factory=dict)
    serial: Any = field(default_factory=count)
    run: str = field(default_factory=lambda: uuid4().hex[:8])

    async def call(self, method: str, path: str, **options: Any) -> Reply:
        async with self.session.request(method, self.base + path, **options) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Reply(response.status, headers, await response.read())

    async def token(self, api: str) -> str:
        if api not in self.tokens:
            form = {
                "grant_type": "client_credentials",
                "client_id": self.tenant.client_id,
                "client_secret": self.tenant.secret,
            }
            reply = await self.call("POST", f"{BASES[api]}/oauth2/token", data=form)
            assert reply.status == 200, reply
            self.tokens[api] = reply.json["access_token"]
        return self.tokens[api]

    async def send(
        self,
        body: Any,
        *,
        kind: str = "orders",
        user: str | None = None,
        mode: str | None = None,
        headers: dict[str, str] | None = None,
        zipped: bool = False,
    ) -> Reply:
        """Send one import request; anything but bytes is encoded as JSON."""
        path = f"{BASES['import']}/{self.tenant.api_key}/{kind}" + (f"/users/{user}" if user else "")
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Content-Type": "application/json", **(headers or {})}
        sent.setdefault("Authorization", f"Bearer {await self.token('import')}")
        if zipped:
            data = gzip.compress(data, mtime=0)
            sent["Content-Encoding"] = "gzip"
        params = {"mode": mode} if mode else {}
        return await self.call("PUT" if user else "POST", path, data=data, headers=sent, params=params)

    async def send_with_retry(self, body: Any, *, within_s: float = 30, **options: Any) -> Reply:
        """Send, and retry 429, 502 and 503 after their Retry-After, until `within_s` has passed."""
        until = monotonic() + within_s
        while True:
            reply = await self.send(body, **options)
            if reply.status not in {429, 502, 503} or monotonic() > until:
                return reply
            await asyncio.sleep(min(float(reply.headers.get("retry-after", "1")), 0.99))

    async def order_code(self, sku: str, *, headers: dict[str, str] | None = None) -> Reply:
        """Order one code."""
        sent = {"Authorization": f"Bearer {await self.token('fulfilment')}", **(headers or {})}
        body = {"products": [{"sku": sku, "quantity": 1}]}
        return await self.call("POST", f"{BASES['fulfilment']}/orders", json=body, headers=sent)

    async def events(self, job: str, *, headers: dict[str, str] | None = None, **params: Any) -> Reply:
        return await self._status(f"job/{job}/events", headers, params)

    async def records(self, job: str, **params: Any) -> Reply:
        return await self._status(f"job/{job}/records", None, params)

    async def _status(self, rest: str, headers: dict[str, str] | None, params: dict[str, Any]) -> Reply:
        sent = {"Authorization": f"Bearer {await self.token('status')}", **(headers or {})}
        path = f"{BASES['status']}/{self.tenant.api_key}/{rest}"
        return await self.call("GET", path, headers=sent, params=params)

    async def wait_for_job(self, job: str, *, within_s: float = 30, **params: Any) -> Any:
        """Return the job's events once it has ended."""
        until = monotonic() + within_s
        while True:
            wait = max(min(until - monotonic(), 20), 1)
            try:
                reply = await self.events(job, headers={"Prefer": f"wait={wait:.0f}"}, **params)
            except aiohttp.ClientError as error:
                assert monotonic() < until, f"no response about job {job}: {error!r}"
                continue
            if reply.status == 200 and reply.json["summary"]["job"]["terminal"]:
                return reply.json
            assert monotonic() < until, f"job {job} has not ended after {within_s} s: {reply}"
            await asyncio.sleep(0.05)

    def order(self, **changes: Any) -> dict[str, Any]:
        """Build a valid order; a change to `...` removes the field."""
        fields = {
            "id": f"o-{self.run}-{next(self.serial)}",
            "userId": "u1",
            "dateTime": "2024-05-01T10:00:00+02:00",
            "lineItems": [{"productId": "4556", "quantity": 1, "unitPrice": 9.99}],
            **changes,
        }
        return {name: value for name, value in fields.items() if value is not ...}
