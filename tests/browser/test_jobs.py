"""Imports in a browser: live, by keyboard, without JavaScript."""

import asyncio

from tests.browser.page_cases import CUSTOMER, OPERATOR
from tests.browser.screen import Screens
from tests.browser.seed import API_KEY, an_order
from tillstream import Client


def send(base: str, number: int) -> str:
    """Import an order and wait for its end; return the job's id."""
    with Client(base, *CUSTOMER, API_KEY) as client:
        job = client.imports.send([an_order(number)]).job_id
        client.jobs.wait(job, timeout_s=60)
        return job


async def test_a_new_import_appears_in_all_tabs_by_itself_through_one_stream(screens: Screens) -> None:
    async with screens.open(CUSTOMER) as screen:
        streams: list[str] = []
        screen.page.context.on(
            "request", lambda request: streams.append(request.url) if request.url.endswith("/portal/live") else None
        )
        await screen.open("/portal/jobs")
        second = await screen.page.context.new_page()
        await second.goto(f"{screen.base}/portal/")
        await until_live(screen.page, streams)
        job = await asyncio.to_thread(send, screen.base, 70_001)
        for page in (screen.page, second):
            await page.wait_for_selector(f'a[href="/portal/jobs/{job}"]', timeout=20_000)
        assert len(streams) == 1
        assert screen.problems == []


async def until_live(page: object, streams: list[str]) -> None:
    """Wait until the stream was asked for."""
    async with asyncio.timeout(15):
        while not streams:
            await page.wait_for_timeout(50)  # type: ignore[attr-defined]


async def test_signing_out_ends_all_tabs(screens: Screens) -> None:
    async with screens.open() as screen:
        await screen.sign_in(*CUSTOMER)
        other = await screen.page.context.new_page()
        await other.goto(f"{screen.base}/portal/jobs")
        await screen.page.click("button:has-text('Sign out')")
        await screen.page.wait_for_url("**/portal/sign-in?reason=signed-out")
        await other.wait_for_url("**/portal/sign-in?reason=ended", timeout=15_000)
        await other.goto(f"{screen.base}/portal/jobs")
        assert "/portal/sign-in" in other.url


async def test_signing_in_and_out_works_without_javascript(screens: Screens) -> None:
    async with screens.open(has_javascript=False) as screen:
        await screen.open("/portal/jobs?state=COMPLETED")
        assert "/portal/sign-in?next=" in screen.page.url
        await screen.page.fill("#f-client_id", OPERATOR[0])
        await screen.page.fill("#f-client_secret", "wrong")
        await screen.page.click("button:has-text('Sign in')")
        assert "is not right" in await screen.page.inner_text("[role=alert]")
        assert await screen.page.input_value("#f-client_id") == OPERATOR[0]
        await screen.page.fill("#f-client_id", CUSTOMER[0])
        await screen.page.fill("#f-client_secret", CUSTOMER[1])
        await screen.page.click("button:has-text('Sign in')")
        assert screen.page.url.endswith("/portal/jobs?state=COMPLETED")
        await screen.page.click("button:has-text('Sign out')")
        assert "You are signed out" in await screen.page.inner_text("[role=status]")


async def test_filters_and_pages_work_without_javascript(screens: Screens) -> None:
    async with screens.open(CUSTOMER, has_javascript=False) as screen:
        await screen.open("/portal/jobs")
        assert await screen.page.locator("tbody tr").count() == 50
        await screen.page.click("a[rel=next]")
        assert await screen.page.locator("tbody tr").count() >= 10
        await screen.page.click("a[rel=first]")
        await screen.page.select_option("#f-state", "COMPLETED_WITH_WARNING")
        await screen.page.click("button:has-text('Apply')")
        states = set(await screen.page.locator("tbody .badge").all_inner_texts())
        assert states == {"Some failed"}


async def test_keys_search_and_explain_themselves(screens: Screens) -> None:
    async with screens.open(CUSTOMER) as screen:
        await screen.open("/portal/jobs")
        page = screen.page
        await page.keyboard.press("/")
        assert await page.evaluate("document.activeElement.id") == "f-job"
        await page.keyboard.press("?")
        assert not await page.locator("dialog#keys").is_visible()
        await page.keyboard.press("Escape")
        await page.evaluate("document.activeElement.blur()")
        await page.keyboard.press("?")
        assert await page.locator("dialog#keys").is_visible()
        await page.keyboard.press("Escape")
        await page.keyboard.press("g")
        await page.keyboard.press("h")
        await page.wait_for_url("**/portal/")
        assert screen.problems == []


async def test_failed_records_are_downloaded_from_the_page(screens: Screens) -> None:
    async with screens.open(CUSTOMER) as screen:
        await screen.open("/portal/jobs?state=COMPLETED_WITH_WARNING")
        await screen.page.click("tbody .row-link >> nth=0")
        async with screen.page.expect_download() as download:
            await screen.page.click("text=Failed as CSV")
        path = await (await download.value).path()
        assert "_errors" in path.read_text(encoding="utf-8-sig").splitlines()[0]
