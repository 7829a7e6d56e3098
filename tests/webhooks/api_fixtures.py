"""The API over a feed, and a client of it."""

import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import ClientResponse, TCPConnector
from aiohttp.test_utils import TestClient, TestServer

from services.chassis.http.page_limits import PageLimits
from services.chassis.http.paging import PageTokenCodec
from services.chassis.http.rate_limit import RateLimit
from services.chassis.http.server import build_application
from services.chassis.http.shared_rate_limit import SharedRateLimit
from services.chassis.runtime.errors import UnauthorizedError
from services.chassis.runtime.settings import REPOSITORY
from services.chassis.security.audit import AuditLog
from services.chassis.security.authentication import RequestAuthenticator
from services.chassis.security.tokens import Token
from services.values.sites import ApiKey, Site
from services.webhooks.adapters.feed_loader import FeedLoader
from services.webhooks.adapters.notifier import SiteNotifier
from services.webhooks.adapters.secret_sealer import describe_public_key, load_signing_keys
from services.webhooks.domain.event import NewEvent
from services.webhooks.flows import append_events, manage_endpoints, read_feed
from services.webhooks.http.authentication import Authenticator
from services.webhooks.http.endpoints import EndpointsApi
from services.webhooks.http.feed import FeedApi
from services.webhooks.http.params import Cursors
from tests.webhooks.events import NOON_US, OTHER_SITE, SITE
from tests.webhooks.fakes import MemoryFeed
from tests.webhooks.feed_fixtures import Feed

SITES = {"12345": SITE, "67890": OTHER_SITE}
HEARTBEAT_S = 0.05


class FakeVerifier:
    """Accepts the tokens `good` and `other` with all scopes, and `reader` and `writer` with one each."""

    def __init__(self) -> None:
        self.revoked: set[str] = set()

    def cached(self, token: str) -> Token | None:
        both = {"events:read", "webhooks:write"}
        known = {
            "good": ("12345", both),
            "other": ("67890", both),
            "reader": ("12345", {"events:read"}),
            "writer": ("12345", {"webhooks:write"}),
        }.get(token)
        if known is None or token in self.revoked:
            return None
        return Token(
            client_id=token,
            site=SITES[known[0]],
            api_keys=frozenset({known[0]}),
            scopes=frozenset(known[1]),
            issued_at=0,
            expires_at=2**40,
            token_id="t",
        )

    async def verify(self, token: str) -> Token:
        raise UnauthorizedError(f"unknown token of {len(token)} characters")


class FakeSites:
    def by_api_key(self, api_key: str) -> Site | None:
        if api_key not in SITES:
            return None
        return Site(
            site=SITES[api_key],
            name="Demo",
            app_id=1,
            root_source="r",
            datacenter="d",
            api_keys=(ApiKey(api_key=api_key),),
        )


@dataclass
class FeedClient:
    """A client of the feed that can also append events."""

    client: TestClient[Any, Any]
    feed: Feed
    deps: append_events.Deps
    notifier: SiteNotifier
    verifier: FakeVerifier
    cursors: Cursors
    page_limits: PageLimits
    now_us: list[int] = field(default_factory=lambda: [NOON_US])

    async def append(self, *events: NewEvent) -> None:
        await append_events.append_events(events, self.deps)

    async def get(
        self, path: str = "/events/v1/12345/events", *, headers: Any = None, who: str = "good", **query: Any
    ) -> ClientResponse:
        return await self.client.get(
            path,
            params={name: str(value) for name, value in query.items()},
            headers={"Authorization": f"Bearer {who}", **(headers or {})},
        )

    async def call(self, method: str, path: str, body: Any = None, *, who: str = "good") -> tuple[int, Any]:
        """Status and body of a request to the site's endpoints."""
        headers = {"Authorization": f"Bearer {who}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        url = f"/events/v1/{'67890' if who == 'other' else '12345'}/endpoints{path}"
        async with self.client.request(method, url, data=data, headers=headers) as response:
            text = await response.text()
            return response.status, json.loads(text) if text else None

    async def read(self, **options: Any) -> tuple[list[int], str]:
        """A page: the sequences of its events, and the cursor behind them."""
        response = await self.get(**options)
        assert response.status == 200, await response.text()
        page = json.loads(await response.text())
        assert page["pagination"]["count"] == len(page["result"])
        return [event["sequence"] for event in page["result"]], page["pagination"]["nextPageToken"]


async def build_client(
    feed: Feed,
    *,
    max_waiters: int = 3,
    manage: Callable[[SiteNotifier], manage_endpoints.Deps] | None = None,
    allow_loopback: bool = False,
    heartbeat_s: float = HEARTBEAT_S,
) -> FeedClient:
    notifier, verifier, now_us = SiteNotifier(max_waiters=max_waiters), FakeVerifier(), [NOON_US]
    requests = RequestAuthenticator(verifier, FakeSites())  # type: ignore[arg-type]
    cursors, page_limits = Cursors("a secret of sixteen"), PageLimits("the events API", requests.recent_clients)
    authenticator = Authenticator(
        requests=requests,
        is_started=lambda: True,
        rate_limit=SharedRateLimit(RateLimit(), url=None),
        requests_per_second=10_000,
    )
    api = FeedApi(
        deps=read_feed.Deps(feed=FeedLoader(feed), waiters=notifier, clock_s=time.monotonic),
        authenticator=authenticator,
        cursors=cursors,
        page_limits=page_limits,
        openapi=REPOSITORY / "schemas" / "openapi" / "events.yaml",
        heartbeat_s=heartbeat_s,
    )
    routes = list(api.routes())
    if manage is not None:
        endpoints = EndpointsApi(
            deps=manage(notifier),
            authenticator=authenticator,
            page_tokens=PageTokenCodec("a secret of sixteen", salt="test"),
            public_keys=[describe_public_key(key) for key in load_signing_keys([b"s" * 32])],
            page_limits=page_limits,
            audit=AuditLog(),
            allow_loopback=allow_loopback,
            body_timeout_s=5,
        )
        routes += endpoints.routes()
    client = TestClient(TestServer(build_application(routes)), connector=TCPConnector(limit=0))
    await client.start_server()
    deps = append_events.Deps(feed=feed, notifier=notifier, now_us=lambda: now_us[0])
    return FeedClient(client, feed, deps, notifier, verifier, cursors, page_limits, now_us)


@pytest.fixture
async def api() -> AsyncIterator[FeedClient]:
    client = await build_client(MemoryFeed())
    yield client
    await client.notifier.stop()
    await client.client.close()


@dataclass
class ServerSentEvent:
    """One frame of a stream."""

    id: str
    type: str
    data: Any


async def read_frames(response: ClientResponse, count: int) -> Sequence[ServerSentEvent]:
    """The next events of a stream; comments and other fields are skipped."""
    frames: list[ServerSentEvent] = []
    fields: dict[str, str] = {}
    while len(frames) < count:
        line = (await response.content.readline()).decode().rstrip("\n")
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            frames.append(ServerSentEvent(fields["id"], fields["event"], json.loads(fields["data"])))
            fields = {}
    return frames
