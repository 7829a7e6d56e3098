"""Files in a browser: uploaded, checked, imported through a restart of every process, mended, sent again."""

import asyncio
import csv
import io
import json
from collections import Counter
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser.new_sites import PRODUCT, add_site
from tests.browser.page_cases import CUSTOMER
from tests.browser.screen import Screen, Screens
from tests.browser.seed import API_KEY
from tests.e2e.installation import Installation
from tillstream import Client

HEADER = ["id", "userId", "dateTime", "productId", "quantity", "unitPrice"]
ENDED_MS = 90_000


def write_sales(path: Path, count: int, *, bad_each: int, prefix: str = "F") -> int:
    """Write orders, every `bad_each`-th with a product that is not in the catalogue; return how many these are."""
    bad = 0
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(HEADER)
        for number in range(count):
            is_bad = number % bad_each == 0
            bad += is_bad
            product = "unknown-product" if is_bad else PRODUCT
            writer.writerow([f"{prefix}{number:05}", f"u{number % 7}", "2026-11-30 10:00", product, 1, "9,99"])
    return bad


async def upload(page: Page, path: Path) -> None:
    """Choose a file on the page that is open, and wait for the file's own page."""
    await page.set_input_files("#f-file", path)
    await page.click("#upload button.primary")
    await page.wait_for_url(lambda url: "/portal/files/" in url, timeout=30_000)


async def figure(page: Page, name: str) -> str:
    """Return a figure of the page."""
    return (await page.inner_text(f".figure:has(dt:text-is('{name}')) dd")).split("\n")[0]


async def until_ended(page: Page) -> None:
    """Wait until the page says that a check or an import has ended, as it renews itself."""
    await expect(page.locator("#run[data-unfinished]")).to_have_count(0, timeout=ENDED_MS)


async def test_from_a_first_sign_in_on_an_empty_site_to_the_first_mended_failure(
    screens: Screens, installation: Installation, tmp_path: Path
) -> None:
    site = await asyncio.to_thread(add_site, installation, tmp_path, 701)
    path = tmp_path / "first.csv"
    bad = write_sales(path, 20, bad_each=7, prefix="M")
    async with screens.open() as screen:
        page = screen.page
        await screen.sign_in(*site.client)
        assert "Check a few records" in await page.inner_text("main"), "an empty site is shown how to begin"
        await screen.open("/portal/files")
        await upload(page, path)
        await page.click("button:has-text('Check all first')")
        await until_ended(page)
        assert (await figure(page, "Would be accepted"), await figure(page, "Would fail")) == (str(20 - bad), str(bad))
        assert "Unknown product" in await page.inner_text("#run")
        await page.click("button:has-text('Import all')")
        await until_ended(page)
        assert (await figure(page, "Imported"), await figure(page, "Failed")) == (str(20 - bad), str(bad))
        await page.click("a:text-is('Mend')")
        assert await page.locator("input[aria-invalid=true]").count() == bad
        for number in range(bad):
            await page.locator("input[name$='/productId']").nth(number).fill(PRODUCT)
        await page.click("button:has-text('Check this page')")
        await expect(page.locator(".badge:has-text('Ready to send')")).to_have_count(bad)
        await page.click("button:has-text('Check and send')")
        assert f"{bad} records were sent" in await page.inner_text("[role=status]")
        await page.click("p:has-text('Sent so far') a")
        await page.click("p:has-text('Holds mended records of') a")
        assert "Mended and sent again" in await page.inner_text("main")
        assert screen.problems == []


async def test_a_file_is_imported_without_javascript(screens: Screens, tmp_path: Path) -> None:
    path = tmp_path / "plain.csv"
    write_sales(path, 30, bad_each=100, prefix="P")
    async with screens.open(CUSTOMER, has_javascript=False) as screen:
        page = screen.page
        await screen.open("/portal/files")
        await upload(page, path)
        await page.click("button:has-text('Check all first')")
        async with asyncio.timeout(ENDED_MS / 1000):
            while not await page.locator(".badge:has-text('Done')").count():
                await page.click("a:text-is('Refresh')")
        assert await figure(page, "Would fail") == "1"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("count", [2_000, pytest.param(20_000, marks=pytest.mark.long)])
async def test_a_file_is_checked_imported_paused_resumed_through_restarts_mended_and_sent_again_and_nothing_twice(
    screens: Screens, installation: Installation, tmp_path: Path, count: int
) -> None:
    """3 % of the rows are faulty. Every process is stopped and started while the import runs."""
    path = tmp_path / "sales.csv"
    bad = write_sales(path, count, bad_each=33, prefix=f"R{count}-")
    limit = max(count // 10, 400)
    await asyncio.to_thread(set_limit, installation, tmp_path, limit)
    async with screens.open(CUSTOMER) as screen:
        page = screen.page
        await screen.open("/portal/files")
        await upload(page, path)
        await page.click("button:has-text('Check all first')")
        await until_ended(page)
        assert await figure(page, "Would fail") == f"{bad:,}"
        await page.click("button:has-text('Import all')")
        await until_sent(page)
        await page.click("button:has-text('Pause')")
        await expect(page.locator(".badge:has-text('Paused')")).to_be_visible(timeout=20_000)
        await restart_all(installation)
        # A sandbox gives its tenants their limits again when it starts.
        await asyncio.to_thread(set_limit, installation, tmp_path, limit)
        await sign_in_again(screen)
        await page.click("button:has-text('Resume')")
        await until_ended(page)
        assert (await figure(page, "Imported"), await figure(page, "Failed")) == (f"{count - bad:,}", f"{bad:,}")
        async with page.expect_download() as download:
            await page.click("a:has-text('Failed as CSV')")
        failed = (await (await download.value).path()).read_text(encoding="utf-8-sig")
        rows = list(csv.reader(io.StringIO(failed), delimiter=";"))
        assert (rows[0][-1], len(rows) - 1) == ("_errors", bad)
        mended = tmp_path / "mended.csv"
        mended.write_text(failed.replace("unknown-product;", "4556;"), encoding="utf-8")
        await page.click("a:has-text('Upload the mended file')")
        await upload(page, mended)
        await page.click("button:has-text('Import without checking')")
        await until_ended(page)
        assert (await figure(page, "Imported"), await figure(page, "Failed")) == (f"{bad:,}", "0")
        assert screen.problems == []
    counted = await asyncio.to_thread(count_orders, installation.base, f"R{count}-")
    assert len(counted) == count
    assert Counter(counted.values()) == {1: count - bad, 2: bad}, "twice only those that were mended"


def set_limit(installation: Installation, directory: Path, limit: int) -> None:
    """Change how many records the customer's site may send in a second: the story would else take an hour."""
    sites = json.loads(installation.run_cli("sites", "list").stdout)
    (site,) = [each for each in sites if any(key["apiKey"] == API_KEY for key in each["apiKeys"])]
    document = directory / "sites.json"
    document.write_text(json.dumps({"sites": [site | {"recordsPerSecond": limit}]}))
    installation.run_cli("sites", "add", str(document))


async def until_sent(page: Page) -> None:
    """Wait until an import is under way."""
    async with asyncio.timeout(60):
        while (await figure(page, "Imported")) in {"0", "–"}:
            await page.wait_for_timeout(200)


async def restart_all(installation: Installation) -> None:
    """Stop and start every process of the installation."""
    port = installation.base.rpartition(":")[2]
    await asyncio.to_thread(installation.run, "down", within_s=180)
    await asyncio.to_thread(installation.run, "up", "--port", port, within_s=240)


async def sign_in_again(screen: Screen) -> None:
    """The session is in the database; the page is opened again."""
    await screen.page.reload()


def count_orders(base: str, prefix: str) -> Counter[str]:
    """Return in how many jobs each order was."""
    counted: Counter[str] = Counter()
    with Client(base, *CUSTOMER, API_KEY) as client:
        for job in client.jobs.list(rows=1_000):
            for outcome in ("succeeded", "failed"):
                for record in client.jobs.records(job.job_id, outcome=outcome, rows=1_000):
                    if record.id and record.id.startswith(prefix):
                        counted[record.id] += 1
    return counted
