"""A browser at a portal whose people sign in by OpenID Connect."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from html import unescape
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import aiohttp
import pytest

from tests.portal.apis import CUSTOMER, SECRET
from tests.portal.conftest import OpenSite
from tests.portal.oidc_issuer import CLIENT_ID, CLIENT_SECRET, SUBJECT, OidcIssuer
from tests.portal.site import NOW_US, ORIGIN, Site

START = "/portal/sign-in/start"
COOKIE, PENDING = "portal-session", "portal-sign-in"
DATABASE = f"portal-openid-{uuid4().hex[:12]}"
UNVERIFIED = "This sign-in could not be verified"
STALE = "This sign-in cannot be completed"
UNAVAILABLE = "Signing in is temporarily not available"
OpenOidcSite = Callable[..., Awaitable[Site]]


def mapping(**clients: str) -> str:
    """Return the setting that maps values of the claim to clients."""
    return json.dumps({value: {"client_id": client, "client_secret": SECRET} for value, client in clients.items()})


@pytest.fixture
async def issuer() -> AsyncIterator[OidcIssuer]:
    issuer = OidcIssuer(now_s=lambda: NOW_US / 1_000_000)
    server = await issuer.start()
    yield issuer
    await server.close()


@pytest.fixture
def open_oidc_site(open_site: OpenSite, issuer: OidcIssuer) -> OpenOidcSite:
    """Open a browser at a new replica of the portal that is configured for the issuer.

    All tests have one database, because its indexes take most of the time; the first replica of a test empties it.
    """
    is_empty = False

    async def open_one(**settings: Any) -> Site:
        nonlocal is_empty
        configured = {
            "oidc_issuer": issuer.url,
            "oidc_client_id": CLIENT_ID,
            "oidc_client_secret": CLIENT_SECRET,
            "oidc_clients": mapping(**{SUBJECT: CUSTOMER}),
            "oidc_name": "Example & Sons",
            "mongodb_database": DATABASE,
        }
        site = await open_site(**configured | settings)
        if not is_empty:
            is_empty = True
            for name in ("portal_sessions", "portal_pending_sign_ins"):
                await site.components.mongo.collection(name).delete_many({})
        return site

    return open_one


@pytest.fixture
async def oidc_site(open_oidc_site: OpenOidcSite) -> Site:
    return await open_oidc_site()


async def go_to_issuer(site: Site, target: str = "/portal/jobs") -> str:
    """Press the button; return the issuer's address to which the browser is led."""
    async with await site.get(f"{START}?next={target}", {"Sec-Fetch-Site": "same-origin"}) as response:
        assert response.status == 303, await response.text()
        return response.headers["Location"]


async def sign_in_at_issuer(url: str) -> str:
    """Open the issuer's address; return the path at the portal to which it leads back."""
    async with aiohttp.ClientSession() as session, session.get(url, allow_redirects=False) as response:
        assert response.status == 302, await response.text()
        back = response.headers["Location"]
    parts = urlsplit(back)
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{ORIGIN}/portal/sign-in/callback"
    return f"{parts.path}?{parts.query}"


async def come_back(site: Site, path: str, *, status: int = 200) -> str:
    """Follow the way back to the portal as a browser does, and return the page.

    Coming from another site, it gets a page that asks once more, now with the strict cookies.
    """
    page = await site.text(path, {"Sec-Fetch-Site": "cross-site"})
    assert 'http-equiv="refresh" content="0"' in page
    return await site.text(path, {"Sec-Fetch-Site": "same-origin"}, status=status)


async def sign_in(site: Site, *, status: int = 200) -> str:
    """Sign in by OpenID Connect; return the last page."""
    return await come_back(site, await sign_in_at_issuer(await go_to_issuer(site)), status=status)


async def count_sessions(site: Site) -> int:
    """Return how many sessions there are that have not ended."""
    sessions = site.components.mongo.collection("portal_sessions")
    return int(await sessions.count_documents({"ciphertext": {"$exists": True}}))


def refreshed_to(page: str) -> str:
    """Return where a page leads by itself."""
    return unescape(page.partition('content="0; url=')[2].partition('">')[0])


async def assert_refused(site: Site, title: str, status: int) -> None:
    """Sign in, and see a page that says why not and leads back to the sign-in page."""
    page = await sign_in(site, status=status)
    assert title in page
    assert 'href="/portal/sign-in"' in page
    assert COOKIE not in site.cookies
    assert await count_sessions(site) == 0
