"""Serves the import API on a free port over fakes, and sends requests by aiohttp or as raw bytes."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from services.chassis.http.direct import Exchange
from services.chassis.http.server import HttpServer, build_application
from services.chassis.runtime.settings import REPOSITORY
from services.chassis.security.authentication import RequestAuthenticator
from services.ingest.http.imports import ImportApi, ImportOptions
from services.ingest.ports import IdempotencyStore, Publisher
from tests.ingest.fakes import (
    FakeIdempotencyStore,
    FakeJudge,
    FakePublisher,
    FakeRateLimiter,
    FakeSites,
    FakeVerifier,
    Journal,
    fake_deps,
)

OPENAPI_FILE = REPOSITORY / "schemas/openapi/omnichannel.yaml"
BASE = "/omnichannel/api/v1/12345"


@dataclass(frozen=True, slots=True)
class Response:
    """A response, read to its end."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The problem's code; empty for a success."""
        return str(self.json["code"]) if self.status >= 400 else ""


@dataclass(slots=True)
class ApiClient:
    """A client of the API, with access to the fakes behind it."""

    base_url: str
    session: aiohttp.ClientSession
    journal: Journal
    publisher: FakePublisher
    rate_limiter: FakeRateLimiter
    idempotency: FakeIdempotencyStore
    judge: FakeJudge
    # Whether the direct handler took each request that it was offered.
    offers: list[bool]

    async def call(
        self, method: str, path: str, *, data: Any = None, headers: Any = None, token: str | None = "good"
    ) -> Response:
        """Send one request; `path` is sent unchanged."""
        authorization = {"Authorization": f"Bearer {token}"} if token else {}
        all_headers = {"Content-Type": "application/json", **authorization, **(headers or {})}
        sent = {name: value for name, value in all_headers.items() if value is not None}
        skipped = set() if "Content-Type" in sent else {"Content-Type"}
        url = URL(self.base_url + path, encoded=True)
        async with self.session.request(
            method, url, data=data, headers=sent, skip_auto_headers=skipped, allow_redirects=False
        ) as response:
            received = {name.lower(): value for name, value in response.headers.items()}
            return Response(response.status, received, await response.read())

    async def send(
        self, body: Any, *, kind: str = "orders", user: str | None = None, query: str = "", **options: Any
    ) -> Response:
        """Send an import request: PUT for a user, POST otherwise."""
        path = f"{BASE}/{kind}" + (f"/users/{quote(user, safe='')}" if user is not None else "") + query
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.call("PUT" if user is not None else "POST", path, data=data, **options)

    async def send_raw(self, *pieces: bytes, half_close: bool = False) -> bytes:
        """Send raw bytes and return the whole response."""
        url = URL(self.base_url)
        reader, writer = await asyncio.open_connection(url.host, url.port)
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            if half_close:
                writer.write_eof()
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
            )
            return head + await reader.readexactly(length)
        finally:
            writer.close()


@asynccontextmanager
async def import_api(
    *,
    records_per_second: int = 100,
    strict_json: bool = False,
    idempotency: IdempotencyStore | None = None,
    publisher: Publisher | None = None,
    direct: bool = True,
    **options: Any,
) -> AsyncIterator[ApiClient]:
    """Serve the API with these settings; without `direct`, all requests take aiohttp's way."""
    journal: Journal = []
    fake_publisher, rate_limiter = FakePublisher(journal), FakeRateLimiter(journal)
    fake_store, judge = FakeIdempotencyStore(journal), FakeJudge(journal)
    sites = FakeSites(records_per_second=records_per_second)
    api = ImportApi(
        deps=fake_deps(
            journal,
            publisher=publisher or fake_publisher,
            rate_limiter=rate_limiter,
            idempotency=idempotency or fake_store,
            judge=judge,
            strict_json=strict_json,
        ),
        authenticator=RequestAuthenticator(FakeVerifier(), sites),  # type: ignore[arg-type]
        sites=sites,  # type: ignore[arg-type]
        options=ImportOptions(**options),
        openapi=OPENAPI_FILE,
    )
    offers: list[bool] = []

    def handle_directly(exchange: Exchange) -> bool:
        offers.append(api.direct(exchange))
        return offers[-1]

    server = HttpServer(
        build_application(api.routes()), host="127.0.0.1", port=0, direct=handle_directly if direct else None
    )
    await server.start()
    try:
        async with aiohttp.ClientSession() as session:
            yield ApiClient(
                f"http://{server.address}", session, journal, fake_publisher, rate_limiter, fake_store, judge, offers
            )
    finally:
        await server.stop()


def request_head(method: str, path: str, *lines: str) -> bytes:
    """Return the request line and headers as bytes."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: h", "Authorization: Bearer good", *lines, "", ""]).encode()
