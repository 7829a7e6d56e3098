"""Reports in a browser: the files are what the page shows."""

import asyncio
import csv
import re
from decimal import Decimal
from pathlib import Path

from playwright.async_api import Page, expect

from tests.browser.new_sites import NewSite, add_site
from tests.browser.screen import Screens
from tests.browser.seed import an_order
from tests.e2e.installation import Installation
from tillstream import Client

ORDERS = {"web": 7, "app": 3, "shop|7": 2}
# Columns of the table by their place, and of the file by their name.
FIGURES = ("orders", "units", "gross", "coupons", "returned", "net")


async def test_sales_by_channel_are_exported_equal_to_the_screen(
    screens: Screens, installation: Installation, tmp_path: Path
) -> None:
    site = await asyncio.to_thread(add_site, installation, tmp_path, 702, channels=tuple(ORDERS))
    async with screens.open() as screen:
        page = screen.page
        await screen.sign_in(*site.client)
        await asyncio.to_thread(send_sales, screen.base, site)
        await screen.open("/portal/reports?from=2026-11-30&to=2026-11-30&by=channel")
        await expect(page.locator("#sales tbody tr")).to_have_count(len(ORDERS), timeout=20_000)
        shown = await read_table(page, "tbody tr")
        assert {channel: row[0] for channel, row in shown.items()} == ORDERS
        assert await download_sums(page) == shown
        totals = [sum(column) for column in zip(*shown.values(), strict=True)]
        assert await read_table(page, "tfoot tr") == {"Total": totals}
        await page.select_option("#f-channel", label="app")
        await page.click("button:has-text('Show')")
        assert await read_table(page, "tbody tr") == {"app": shown["app"]}
        assert await download_sums(page) == {"app": shown["app"]}
        assert screen.problems == []


def send_sales(base: str, site: NewSite) -> None:
    """Import orders of all channels, and wait until they are sums."""
    jobs = []
    for channel, key in site.api_keys.items():
        with Client(base, *site.client, key) as client:
            sales = [an_order(number, couponValue=Decimal("0.55")) for number in range(ORDERS[str(channel)])]
            jobs.append((key, client.imports.send(sales).job_id))
    for key, job in jobs:
        with Client(base, *site.client, key) as client:
            client.jobs.wait(job, timeout_s=60)


async def read_table(page: Page, rows: str) -> dict[str, list[Decimal]]:
    """Return the figures of rows by their label."""
    return {
        await row.locator("th").inner_text(): list(map(read_amount, await row.locator("td").all_inner_texts()))
        for row in await page.locator(f"#sales table {rows}").all()
    }


def read_amount(text: str) -> Decimal:
    """Return the number of a cell, which may name a currency."""
    return Decimal(re.sub(r"[^\d.\-−]", "", text).replace("−", "-"))


async def download_sums(page: Page) -> dict[str, list[Decimal]]:
    """Return the figures of the table's file by channel."""
    async with page.expect_download() as download:
        await page.click("text=This table >> .. >> a:has-text('CSV')")
    text = (await (await download.value).path()).read_text(encoding="utf-8-sig")
    return {row["channel"]: [Decimal(row[name]) for name in FIGURES] for row in csv.DictReader(text.splitlines())}
