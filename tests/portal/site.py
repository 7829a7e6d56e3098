"""The portal over fake APIs and a real MongoDB, and a browser without a screen: cookies, forms, redirects."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import unescape
from typing import Any

from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient

from services.portal.domain.session import MINUTE_US
from tests.portal.apis import CUSTOMER, SECRET, Apis

ORIGIN = "http://127.0.0.1:8080"
NOW_US = 1_796_000_000_000_000
OWN_REQUEST = {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}
_TOKEN = re.compile(r'name="form_token" value="([^"]+)"')


class Clock:
    """The portal's time."""

    def __init__(self) -> None:
        self.us = NOW_US

    def __call__(self) -> int:
        return self.us

    def advance_minutes(self, minutes: float) -> None:
        self.us += int(minutes * MINUTE_US)


@dataclass(slots=True)
class Site:
    """A browser at a portal."""

    apis: Apis
    clock: Clock
    client: TestClient[Any, Any]
    components: Any
    headers: dict[str, str] = field(default_factory=dict)

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> ClientResponse:
        """Ask for a page, without following redirects."""
        return await self.client.get(path, headers={**self.headers, **(headers or {})}, allow_redirects=False)

    async def text(self, path: str, headers: Mapping[str, str] | None = None, *, status: int = 200) -> str:
        """Return a page's HTML, with entities replaced."""
        async with await self.get(path, headers) as response:
            body = await response.text()
            assert response.status == status, body
            return unescape(body)

    async def form_token(self, path: str = "/portal/sign-in") -> str:
        """Return the token of the first form of a page."""
        async with await self.get(path) as response:
            found = _TOKEN.search(await response.text())
        assert found is not None
        return unescape(found[1])

    async def post(
        self, path: str, form: Mapping[str, str], *, headers: Mapping[str, str] | None = None
    ) -> ClientResponse:
        """Send a form as a browser does from a page of the portal."""
        sent = self.headers | dict(OWN_REQUEST if headers is None else headers)
        return await self.client.post(path, data=dict(form), headers=sent, allow_redirects=False)

    async def sign_in(self, client_id: str = CUSTOMER, secret: str = SECRET, **form: str) -> ClientResponse:
        """Sign in; the response is a redirect, or the form again."""
        token = await self.form_token()
        fields = {"form_token": token, "client_id": client_id, "client_secret": secret, **form}
        return await self.post("/portal/sign-in", fields)

    @property
    def cookies(self) -> dict[str, str]:
        """The browser's cookies."""
        return {cookie.key: cookie.value for cookie in self.client.session.cookie_jar}

    def set_cookie(self, name: str, value: str) -> None:
        """Set a cookie as somebody with access to the browser could."""
        self.client.session.cookie_jar.update_cookies({name: value}, self.client.make_url("/"))
