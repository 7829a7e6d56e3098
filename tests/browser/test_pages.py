"""What holds for every page of `page_cases.py`."""

import os

import pytest
from axe_playwright_python.async_playwright import Axe

from tests.browser.page_cases import PAGES, PageCase
from tests.browser.screen import NARROW, SCHEMES, WIDE, Screens

MAX_BYTES = 60 * 1024
# Pictures for people: PORTAL_PICTURES=/tmp/pictures make browser
PICTURES = os.environ.get("PORTAL_PICTURES")
each_page = pytest.mark.parametrize("case", PAGES, ids=lambda case: case.name)


@each_page
@pytest.mark.parametrize("scheme", SCHEMES)
async def test_axe_finds_nothing_and_no_policy_is_violated(screens: Screens, case: PageCase, scheme: str) -> None:
    async with screens.show(case, scheme=scheme) as screen:
        assert screen.status == case.status
        assert await screen.page.inner_text("h1") == case.title
        assert screen.problems == []
        assert screen.foreign == []
        found = await Axe().run(screen.page)
        assert found.violations_count == 0, found.generate_report()


@each_page
@pytest.mark.parametrize("width", [NARROW, WIDE])
async def test_nothing_is_cut_off(screens: Screens, case: PageCase, width: int) -> None:
    """The page never scrolls sideways; tables may, in a frame of their own."""
    for scheme in SCHEMES if PICTURES else SCHEMES[:1]:
        async with screens.show(case, width=width, scheme=scheme) as screen:
            if PICTURES:
                await screen.page.screenshot(path=f"{PICTURES}/{case.name}-{width}-{scheme}.png", full_page=True)
            scrolled = await screen.page.evaluate("document.documentElement.scrollWidth")
            assert scrolled <= width


@each_page
async def test_it_reads_without_javascript(screens: Screens, case: PageCase) -> None:
    async with screens.show(case, has_javascript=False) as screen:
        assert screen.status == case.status
        text = await screen.page.inner_text("h1")
        assert text == case.title
        links = await screen.page.locator("a[href]").evaluate_all("all => all.map((one) => one.getAttribute('href'))")
        assert not [link for link in links if link.startswith(("javascript:", "#")) and link != "#main"]


@each_page
async def test_it_weighs_little(screens: Screens, case: PageCase) -> None:
    async with screens.open(case.who) as screen:
        session = await screen.page.context.new_cdp_session(screen.page)
        await session.send("Network.enable")
        await session.send("Network.setCacheDisabled", {"cacheDisabled": True})
        received: list[float] = []
        session.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
        await screen.open(screens.path_of(case))
        assert 0 < sum(received) <= MAX_BYTES


@each_page
async def test_every_control_can_be_reached_by_keyboard_and_shows_where_one_is(
    screens: Screens, case: PageCase
) -> None:
    async with screens.show(case) as screen:
        page = screen.page
        expected = await page.evaluate(
            """() => [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")]
              .filter((one) => !one.disabled && one.type !== "hidden" && one.checkVisibility()).length"""
        )
        seen = set()
        # A date has several stops.
        for _ in range(2 * expected + 10):
            await page.keyboard.press("Tab")
            place, outline = await page.evaluate(
                """() => { const one = document.activeElement;
                  const all = [...document.querySelectorAll("*")];
                  return [one === document.body ? -1 : all.indexOf(one), getComputedStyle(one).outlineStyle]; }"""
            )
            if place >= 0:
                assert outline != "none", await page.evaluate("document.activeElement.outerHTML")
                seen.add(place)
        assert len(seen) >= expected
