"""Codes in a browser: from placing an order to its last code."""

from playwright.async_api import expect

from tests.browser.page_cases import CUSTOMER
from tests.browser.screen import Screens

# The supplier of this product delivers one code a second.
SKU, UNITS = "DEMO-TRICKLE", 4


async def test_a_code_order_from_placing_to_the_last_code(screens: Screens) -> None:
    async with screens.open(CUSTOMER) as screen:
        page = screen.page
        await screen.open("/portal/codes/new")
        await page.fill("#f-sku0", SKU)
        await page.fill("#f-quantity0", str(UNITS))
        await page.fill("#f-number", "BROWSER-LAST-CODE")
        await page.click("button:has-text('Place order')")
        await page.wait_for_url("**/portal/codes/orders/*")
        delivered = page.locator(".figure:has(dt:text-is('Delivered')) dd")
        # The page renews itself.
        await expect(delivered).to_contain_text(str(UNITS), timeout=30_000)
        await expect(page.locator("#order[data-unfinished]")).to_have_count(0, timeout=10_000)
        order = page.url
        assert "redeem" not in (await page.inner_text("main")).lower()
        await page.click("button:has-text('Show codes')")
        codes = await page.locator("table tbody td.mono:nth-child(2)").all_inner_texts()
        assert len(set(codes)) == UNITS
        assert "–" not in codes
        await page.goto(order)
        text = await page.inner_text("main")
        assert not [code for code in codes if code in text], "masked again"
        assert screen.problems == []
