"""Stories of a developer: a call is tried on the page, and a record is decoded."""

import pytest

from tests.browser.page_cases import CUSTOMER
from tests.browser.screen import Screens

ORDERS = "/portal/developers/apis/omnichannel/importOrders"


@pytest.mark.parametrize("has_javascript", [True, False])
async def test_orders_are_checked_from_the_page_and_nothing_is_imported(
    screens: Screens, *, has_javascript: bool
) -> None:
    """The first try is harmless: `validateOnly` is on, and the real API answers with an outcome for each record."""
    async with screens.open(CUSTOMER, has_javascript=has_javascript) as screen:
        await screen.open(ORDERS)
        await screen.page.click("button:has-text('Send')")
        await screen.page.wait_for_selector("#response-body")
        assert "200 OK" in await screen.page.inner_text("#response-section")
        body = await screen.page.inner_text("#response-body")
        assert '"outcome"' in body
        assert "jobId" not in body
        assert screen.problems == []


async def test_a_call_is_copied(screens: Screens) -> None:
    async with screens.open(CUSTOMER, permissions=["clipboard-read", "clipboard-write"]) as screen:
        await screen.open(ORDERS)
        await screen.page.click("[data-copy='curl']")
        await screen.page.wait_for_selector("[data-copy='curl']:has-text('Copied')")
        copied = await screen.page.evaluate("navigator.clipboard.readText()")
        assert copied.startswith("curl -i -X POST")
        assert "Bearer $ACCESS_TOKEN" in copied
