"""What the ledger shows after the documents' examples: the users' orders, and sales by channel and day."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
from rich import box
from rich.table import Table

from sandbox.console import Console
from sandbox.demo.cases import API_KEY, CLIENT_ID, CLIENT_SECRET

API = "/ledger/v1"
USERS = ("userA1", "userA2", "userC2")
# From the first to the last day of the examples.
DAYS = {"from": "2022-04-25", "to": "2023-06-02", "by": "day,channel"}
# The examples' return names another channel than any order does.
RETURNED_ORDER = "13"
TIMEOUT_S = 30.0
POLL_INTERVAL_S = 0.3
REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=30)

Row = Mapping[str, Any]
_ORDER = ("userId", "orderId", "channel", "state", "currency", "gross", "returned", "net")
_SALES = ("day", "channel", "currency", "orders", "units", "gross", "coupons", "returned", "net")


@dataclass(slots=True)
class Sales:
    """What the ledger shows."""

    orders: list[Row] = field(default_factory=list)
    report: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> Sequence[Row]:
        """The rows of days with sales."""
        return [row for row in self.report["result"] if row["orders"] or row["returned"] != "0"]

    @property
    def is_complete(self) -> bool:
        """Whether the examples are in it."""
        return any(order["orderId"] == RETURNED_ORDER for order in self.orders) and bool(self.rows)


async def show_sales(base: str, console: Console) -> bool:
    """Print the tables; return whether the examples are in them."""
    try:
        with console.waiting("the ledger"):
            async with aiohttp.ClientSession(base, timeout=REQUEST_TIMEOUT) as session:
                sales = await _fetch(session)
    except (aiohttp.ClientError, TimeoutError, ValueError, KeyError) as error:
        console.line(f"The demo of the ledger could not run: {error or type(error).__name__}")
        return False
    console.print(_table("Orders by user", _ORDER, sales.orders))
    caption = f"complete up to {sales.report['asOf']}, days in {sales.report['zone']}; … is {API}/{API_KEY}"
    console.print(_table("Sales by day and channel", _SALES, sales.rows, caption=caption))
    return sales.is_complete


async def _fetch(session: aiohttp.ClientSession) -> Sales:
    """Return what the ledger shows once everything imported until now is in it."""
    started, end = datetime.now(UTC), time.monotonic() + TIMEOUT_S
    form = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    async with session.post(f"{API}/oauth2/token", data=form) as response:
        body = await response.json(content_type=None)
        if not isinstance(body, dict) or "access_token" not in body:
            raise ValueError(f"{API}/oauth2/token answered {response.status} without a token")
        headers = {"Authorization": f"Bearer {body['access_token']}"}
    while True:
        report = await _get(session, "/reports/sales", headers, DAYS)
        if datetime.fromisoformat(report.get("asOf", "1970-01-01T00:00:00Z")) > started:
            break
        if time.monotonic() > end:
            raise TimeoutError(f"the ledger is not complete after {TIMEOUT_S:g} s")
        await asyncio.sleep(POLL_INTERVAL_S)
    orders = [
        order for user in USERS for order in (await _get(session, f"/users/{user}/orders", headers, {}))["result"]
    ]
    return Sales(orders, report)


async def _get(
    session: aiohttp.ClientSession, path: str, headers: Mapping[str, str], query: Mapping[str, str]
) -> dict[str, Any]:
    async with session.get(f"{API}/{API_KEY}{path}", headers=headers, params=query) as response:
        body: dict[str, Any] = await response.json(content_type=None)
        return body


def _table(title: str, columns: Sequence[str], rows: Sequence[Row], caption: str | None = None) -> Table:
    table = Table(box=box.ASCII2, title=title, caption=caption, title_justify="left")
    table.caption_justify = "left"
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*("-" if row[name] is None else str(row[name]) for name in columns))
    return table
