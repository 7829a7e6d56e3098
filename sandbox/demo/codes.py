"""What the document about codes promises, tried in the order in which it stands there."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from rich import box
from rich.table import Table

from sandbox.demo.cases import CLIENT_ID, CLIENT_SECRET
from sandbox.screen import Screen

API = "/fulfilment/v1"
SECONDS_TO_END = 20.0
PAUSE_S = 0.3
TRIES = 20
REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=30)

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One promise, what was asked, what came, and whether that is what was promised."""

    promise: str
    request: str
    answer: str
    is_kept: bool


@dataclass(slots=True)
class Shopper:
    """A customer with the demo tenant's credentials."""

    session: aiohttp.ClientSession
    rows: list[Row] = field(default_factory=list)
    token: str = ""

    async def visit(self) -> Sequence[Row]:
        """Order, order again, fetch codes now and later."""
        form = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        status, answer = await self.call("POST", "/oauth2/token", data=form)
        if "access_token" not in answer:
            raise ValueError(f"{API}/oauth2/token answered {status}, and no token")
        self.token = answer["access_token"]
        first = await self.order("A transaction is acknowledged at once", {"DEMO-INSTANT": 3, "DEMO-TRICKLE": 5})
        await self.codes("All codes at once or only a portion", first, is_enough=_is_a_portion)
        second = await self.order("The next one of the day is appended", {"DEMO-INSTANT": 2})
        orders = [one.get("purchaseOrder", {}).get("id") for one in (first, second)]
        await self.purchase_order(orders)
        await self.codes("All codes at once", second, is_enough=_has_ended)
        await self.codes("Asking again brings those in processing", first, is_enough=_has_ended)
        return self.rows

    async def order(self, promise: str, wanted: Mapping[str, int]) -> Body:
        """Order these products; the answer."""
        products = [{"sku": sku, "quantity": quantity} for sku, quantity in wanted.items()]
        status, body = await self.call("POST", "/orders", json={"products": products})
        names = ", ".join(f"{quantity} {sku}" for sku, quantity in wanted.items())
        answer = f"{status} {body.get('status', body.get('code'))}"
        self.rows.append(
            Row(promise, f"POST …/orders ({names})", answer, (status, body.get("status")) == (202, "PROCESSING"))
        )
        return body

    async def purchase_order(self, orders: Sequence[str]) -> None:
        """Look at the purchase order that both transactions should stand on."""
        status, body = await self.call("GET", f"/purchase-orders/{orders[0]}")
        count = body.get("totals", {}).get("transactions", 0)
        is_kept = status == 200 and orders[0] == orders[1] and count >= len(orders)
        answer = f"{status} {body.get('state')}, {count} transactions"
        self.rows.append(Row("One purchase order holds them all", "GET …/purchase-orders/{id}", answer, is_kept))

    async def codes(self, promise: str, order: Body, *, is_enough: Any) -> None:
        """Get codes until it is enough, or more cannot be expected."""
        end = time.monotonic() + SECONDS_TO_END
        while True:
            status, body = await self.call("GET", f"/orders/{order.get('transactionId')}/codes")
            if is_enough(body) or body.get("status") != "PROCESSING" or time.monotonic() > end:
                break
            await asyncio.sleep(PAUSE_S)
        counts = body.get("counts", {})
        answer = f"{status} {body.get('status')}, {counts.get('delivered')} of {counts.get('ordered')} codes"
        self.rows.append(Row(promise, "GET …/orders/{id}/codes", answer, status == 200 and is_enough(body)))

    async def call(self, method: str, path: str, **what: Any) -> tuple[int, dict[str, Any]]:
        """One call; told to come back later, it does."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        for _ in range(TRIES):
            async with self.session.request(method, API + path, headers=headers, **what) as response:
                body = await response.json(content_type=None)
                if response.status not in {429, 503}:
                    break
                await asyncio.sleep(min(float(response.headers.get("Retry-After", "1")), 5.0))
        return response.status, body


def _has_ended(body: Body) -> bool:
    return body.get("status") == "COMPLETED"


def _is_a_portion(body: Body) -> bool:
    counts = body.get("counts", {})
    return body.get("status") == "PROCESSING" and 0 < counts["delivered"] < counts["ordered"]


async def show_codes(base: str, screen: Screen) -> bool:
    """Try it against a front door and show what came of it; whether all was as promised."""
    try:
        with screen.waiting("orders of codes"):
            async with aiohttp.ClientSession(base, timeout=REQUEST_TIMEOUT) as session:
                rows = await Shopper(session).visit()
    except (aiohttp.ClientError, TimeoutError, ValueError, KeyError) as error:
        screen.line(f"The demo of codes could not be run: {error or type(error).__name__}")
        return False
    screen.show(_table(rows))
    return all(row.is_kept for row in rows)


def _table(rows: Sequence[Row]) -> Table:
    table = Table(box=box.ASCII2, title="Orders of codes", caption=f"… is {API}", title_justify="left")
    table.caption_justify = "left"
    for name in ("The document says", "Request", "Answer", "As promised"):
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(row.promise, row.request, row.answer, "yes" if row.is_kept else "no")
    return table
