"""Signing in by OpenID Connect in a browser: to another site and back, although forms must not lead away."""

import httpx2
from playwright.async_api import Page, expect

from tests.browser.page_cases import CUSTOMER
from tests.browser.screen import Screens
from tests.e2e.installation import Installation
from tests.portal.oidc_issuer import OidcIssuer

SESSION, PENDING = "portal-session", "portal-sign-in"


async def cookies(page: Page) -> dict[str, tuple[str, str]]:
    """Return value and SameSite of the browser's cookies."""
    found = await page.context.cookies()
    return {cookie["name"]: (cookie["value"], cookie["sameSite"]) for cookie in found}


async def test_a_person_signs_in_at_their_organisation_and_signs_out_there(
    installation: Installation, openid_issuer: OidcIssuer, screens: Screens
) -> None:
    del installation  # another one does not know the issuer
    async with screens.open() as screen:
        page = screen.page
        await screen.open("/portal/sign-in?next=/portal/jobs")
        await page.click("text=Sign in with Example & Sons")
        await page.click("text=Continue")
        await page.wait_for_url(f"{screen.base}/portal/jobs")
        await expect(page.get_by_role("heading", name="Imports", exact=True)).to_be_visible()
        found = await cookies(page)
        assert found[SESSION][1] == "Strict"
        assert found[PENDING][1] == "Lax"

        await page.click("button:has-text('Sign out')")
        await page.wait_for_url(f"{screen.base}/portal/sign-in?reason=signed-out")
        await expect(page.get_by_text("You are signed out")).to_be_visible()
        assert SESSION not in await cookies(page)
        assert openid_issuer.requests[-1] == "/end-session"
        assert {url.startswith(openid_issuer.url) for url in screen.foreign} == {True}
        assert screen.problems == []


async def test_signing_in_ends_the_session_that_another_tab_has_begun_meanwhile(
    installation: Installation, screens: Screens
) -> None:
    """The way back comes from another site, so that the browser withholds the session's cookie at first."""
    del installation
    async with screens.open() as screen:
        page = screen.page
        await screen.open("/portal/sign-in")
        await page.click("text=Sign in with Example & Sons")
        await page.wait_for_selector("text=Continue")
        other = await page.context.new_page()
        await other.goto(f"{screen.base}/portal/sign-in")
        await other.fill("#f-client_id", CUSTOMER[0])
        await other.fill("#f-client_secret", CUSTOMER[1])
        await other.click("button:has-text('Sign in')")
        await other.wait_for_url(f"{screen.base}/portal/")
        meanwhile, _ = (await cookies(page))[SESSION]

        await page.click("text=Continue")
        await page.wait_for_url(f"{screen.base}/portal/")
        current, _ = (await cookies(page))[SESSION]
        assert await status_of(screen.base, current) == 200
        assert await status_of(screen.base, meanwhile) == 303


async def status_of(base: str, session: str) -> int:
    """Return the status of a page that only those see who are signed in."""
    async with httpx2.AsyncClient(base_url=base, cookies={SESSION: session}) as client:
        return (await client.get("/portal/jobs")).status_code
