from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest
from aiohttp import CookieJar
from aiohttp.test_utils import TestClient, TestServer
from pymongo import MongoClient

from services.chassis.http.server import build_application
from services.portal.app import Components, build_routes
from services.portal.settings import Settings
from tests.portal.apis import Apis
from tests.portal.site import ORIGIN, Clock, Site
from tillstream import RetryPolicy

KEY = "a2V5LW9mLXRoZS10ZXN0cy1vZi10aGUtcG9ydGFsISE="
NO_RETRY = RetryPolicy(max_wait_s=0.05)
OpenSite = Callable[..., Awaitable[Site]]


@pytest.fixture
def apis() -> Apis:
    return Apis()


@pytest.fixture
def database(mongodb_uri: str) -> Iterator[str]:
    """The name of a database of its own. It is dropped at the end: all those of a run would take too many files."""
    name = f"portal-{uuid4().hex[:12]}"
    yield name
    client: MongoClient[dict[str, object]] = MongoClient(mongodb_uri)
    client.drop_database(name)
    client.close()


@pytest.fixture
async def open_site(apis: Apis, mongodb_uri: str, database: str, tmp_path: Path) -> AsyncIterator[OpenSite]:
    """Open a browser at a new replica of the portal; all of them have one database and one clock."""
    async with AsyncExitStack() as stack:
        clock = Clock()

        async def open_one(**settings: object) -> Site:
            values = {
                "mongodb_uri": mongodb_uri,
                "mongodb_database": database,
                "portal_encryption_keys": KEY,
                "portal_url": ORIGIN,
                "portal_admin_url": "http://admin.example",
                "portal_operator_url": "http://operator.example",
                "portal_spool_dir": tmp_path / "spool",
                **settings,
            }
            components = Components(
                Settings.model_validate(values), now_us=clock, transport=httpx2.MockTransport(apis), retry=NO_RETRY
            )
            stack.push_async_callback(components.mongo.close)
            stack.push_async_callback(components.clients.stop)
            if components.openid is not None:
                stack.push_async_callback(components.openid.issuer.stop)
            await components.files.spool.start()
            stack.push_async_callback(components.files.spool.stop)
            await components.startup.run_once()
            assert components.startup.is_done
            server = TestServer(build_application(build_routes(components)))
            client = TestClient(server, cookie_jar=CookieJar(unsafe=True))
            await stack.enter_async_context(client)
            stack.push_async_callback(components.listener.stop)
            stack.push_async_callback(components.live.stop)
            return Site(apis=apis, clock=clock, client=client, components=components)

        yield open_one


@pytest.fixture
async def site(open_site: OpenSite) -> Site:
    """A browser at a portal, not signed in."""
    return await open_site()


@pytest.fixture
async def signed_in(site: Site) -> Site:
    """A browser of a customer who is signed in."""
    async with await site.sign_in() as response:
        assert response.status == 303, await response.text()
    return site
