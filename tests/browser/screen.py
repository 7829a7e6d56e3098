"""A browser with an eye on what pages do: console, requests, violations of the content security policy, weight."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, BrowserContext, Page

from tests.browser.page_cases import PageCase

NARROW, WIDE = 360, 1_440
HEIGHT = 900
SCHEMES = ("light", "dark")
# It writes violations to the console even where Chromium itself would not.
_REPORT_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy violated: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`));
"""


@dataclass(slots=True)
class Screen:
    """One page in a browser, and what it has done since it was opened."""

    page: Page
    base: str
    problems: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    bytes: int = 0
    status: int = 0

    def watch(self) -> None:
        """Begin to record."""
        self.page.on("console", lambda message: self._on_console(message.type, message.text))
        self.page.on("pageerror", lambda error: self.problems.append(f"uncaught: {error}"))
        self.page.on("request", lambda request: self._on_request(request.url))

    def _on_console(self, kind: str, text: str) -> None:
        # The status of a page that is not there is no problem of the page.
        if kind in ("error", "warning") and "Failed to load resource" not in text:
            self.problems.append(f"{kind}: {text}")

    def _on_request(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and f"{parts.scheme}://{parts.netloc}" != self.base:
            self.foreign.append(url)

    async def open(self, path: str) -> None:
        """Open a page and wait until it stands. A stream of events never ends, so the network is not waited for."""
        response = await self.page.goto(self.base + path, wait_until="load")
        assert response is not None
        self.status = response.status

    async def sign_in(self, client_id: str, secret: str) -> None:
        """Sign in by the form."""
        await self.open("/portal/sign-in")
        await self.page.fill("#f-client_id", client_id)
        await self.page.fill("#f-client_secret", secret)
        await self.page.click("button:has-text('Sign in')")
        await self.page.wait_for_url(lambda url: "/portal/sign-in" not in url)


class Screens:
    """Opens screens; signs in once for each client, so that tests do not use up the limit of sign-ins."""

    def __init__(self, browser: Browser, base: str, names: Mapping[str, str]) -> None:
        self._browser, self._base, self._names = browser, base, names
        self._states: dict[tuple[str, str], Any] = {}

    @asynccontextmanager
    async def open(
        self,
        who: tuple[str, str] | None = None,
        *,
        width: int = WIDE,
        scheme: str = "light",
        has_javascript: bool = True,
        **options: Any,
    ) -> AsyncIterator[Screen]:
        """Open a window of its own, signed in as a client."""
        if who is not None and who not in self._states:
            self._states[who] = await self._sign_in(who)
        context: BrowserContext = await self._browser.new_context(
            viewport={"width": width, "height": HEIGHT},
            color_scheme="dark" if scheme == "dark" else "light",
            java_script_enabled=has_javascript,
            storage_state=self._states.get(who) if who is not None else None,
            locale="en-GB",
            **options,
        )
        try:
            await context.add_init_script(_REPORT_VIOLATIONS)
            screen = Screen(await context.new_page(), self._base)
            screen.watch()
            yield screen
        finally:
            await context.close()

    @asynccontextmanager
    async def show(self, case: PageCase, **options: Any) -> AsyncIterator[Screen]:
        """Open a page of the list."""
        async with self.open(case.who, **options) as screen:
            await screen.open(self.path_of(case))
            yield screen

    def path_of(self, case: PageCase) -> str:
        """Return the path of a page of the list, with what the seed has made; skips the test if it has not made it."""
        try:
            return case.path.format(**self._names)
        except KeyError as missing:
            pytest.skip(f"the seed has no {missing}")

    async def _sign_in(self, who: tuple[str, str]) -> Any:
        context = await self._browser.new_context()
        try:
            screen = Screen(await context.new_page(), self._base)
            await screen.sign_in(*who)
            return await context.storage_state()
        finally:
            await context.close()
