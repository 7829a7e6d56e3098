"""The documented promises about codes, tried in the order of the document."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from rich import box
from rich.table import Table

from sandbox.console import Console
from sandbox.demo.cases import CLIENT_ID, CLIENT_SECRET

API = "/fulfilment/v1"
CODES_TIMEOUT_S = 20.0
POLL_INTERVAL_S = 0.3
MAX_ATTEMPTS = 20
REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=30)

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Check:
    """One documented promise, its request and response, and whether they match it."""

    promise: str
    request: str
    response: str
    is_as_promised: bool


@dataclass(slots=True)
class Client:
    """A client of the fulfilment API with the demo tenant's credentials."""

    session: aiohttp.ClientSession
    checks: list[Check] = field(default_factory=list)
    token: str = ""

    async def run(self) -> Sequence[Check]:
        """Place two orders, and fetch codes at once and later."""
        form = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        status, body = await self.call("POST", "/oauth2/token", data=form)
        if "access_token" not in body:
            raise ValueError(f"{API}/oauth2/token answered {status} without a token")
        self.token = body["access_token"]
        first = await self.order("A transaction is acknowledged at once", {"DEMO-INSTANT": 3, "DEMO-TRICKLE": 5})
        await self.codes("All codes at once or only a portion", first, is_enough=_is_portion)
        second = await self.order("The next one of the day is appended", {"DEMO-INSTANT": 2})
        purchase_orders = [order.get("purchaseOrder", {}).get("id") for order in (first, second)]
        await self.purchase_order(purchase_orders)
        await self.codes("All codes at once", second, is_enough=_is_completed)
        await self.codes("Asking again brings those in processing", first, is_enough=_is_completed)
        return self.checks

    async def order(self, promise: str, quantities: Mapping[str, int]) -> Body:
        """Order these products; return the response's body."""
        products = [{"sku": sku, "quantity": quantity} for sku, quantity in quantities.items()]
        status, body = await self.call("POST", "/orders", json={"products": products})
        names = ", ".join(f"{quantity} {sku}" for sku, quantity in quantities.items())
        response = f"{status} {body.get('status', body.get('code'))}"
        self.checks.append(
            Check(promise, f"POST …/orders ({names})", response, (status, body.get("status")) == (202, "PROCESSING"))
        )
        return body

    async def purchase_order(self, ids: Sequence[str]) -> None:
        """Check that all transactions, whose purchase orders' ids are given, share one purchase order."""
        status, body = await self.call("GET", f"/purchase-orders/{ids[0]}")
        count = body.get("totals", {}).get("transactions", 0)
        is_as_promised = status == 200 and ids[0] == ids[1] and count >= len(ids)
        response = f"{status} {body.get('state')}, {count} transactions"
        self.checks.append(
            Check("One purchase order holds them all", "GET …/purchase-orders/{id}", response, is_as_promised)
        )

    async def codes(self, promise: str, order: Body, *, is_enough: Callable[[Body], bool]) -> None:
        """Fetch codes until `is_enough`, or until no more can be expected."""
        end = time.monotonic() + CODES_TIMEOUT_S
        while True:
            status, body = await self.call("GET", f"/orders/{order.get('transactionId')}/codes")
            if is_enough(body) or body.get("status") != "PROCESSING" or time.monotonic() > end:
                break
            await asyncio.sleep(POLL_INTERVAL_S)
        counts = body.get("counts", {})
        response = f"{status} {body.get('status')}, {counts.get('delivered')} of {counts.get('ordered')} codes"
        self.checks.append(Check(promise, "GET …/orders/{id}/codes", response, status == 200 and is_enough(body)))

    async def call(self, method: str, path: str, **options: Any) -> tuple[int, dict[str, Any]]:
        """Send one request; retry a 429 or 503 after its Retry-After."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        for _ in range(MAX_ATTEMPTS):
            async with self.session.request(method, API + path, headers=headers, **options) as response:
                body = await response.json(content_type=None)
                if response.status not in {429, 503}:
                    break
                await asyncio.sleep(min(float(response.headers.get("Retry-After", "1")), 5.0))
        return response.status, body


def _is_completed(body: Body) -> bool:
    return body.get("status") == "COMPLETED"


def _is_portion(body: Body) -> bool:
    counts = body.get("counts", {})
    return body.get("status") == "PROCESSING" and 0 < counts["delivered"] < counts["ordered"]


async def show_codes(base: str, console: Console) -> bool:
    """Order and fetch codes at a base URL and print the results; return whether all are as promised."""
    try:
        with console.waiting("orders of codes"):
            async with aiohttp.ClientSession(base, timeout=REQUEST_TIMEOUT) as session:
                checks = await Client(session).run()
    except (aiohttp.ClientError, TimeoutError, ValueError, KeyError) as error:
        console.line(f"The demo of codes could not run: {error or type(error).__name__}")
        return False
    console.print(_table(checks))
    return all(check.is_as_promised for check in checks)


def _table(checks: Sequence[Check]) -> Table:
    table = Table(box=box.ASCII2, title="Orders of codes", caption=f"… is {API}", title_justify="left")
    table.caption_justify = "left"
    for name in ("The document says", "Request", "Response", "As promised"):
        table.add_column(name, overflow="fold")
    for check in checks:
        table.add_row(check.promise, check.request, check.response, "yes" if check.is_as_promised else "no")
    return table
