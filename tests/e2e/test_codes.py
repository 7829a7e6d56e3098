"""Orders of codes while fulfilment is killed."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from tests.e2e.customer import BASES, Customer, Reply
from tests.e2e.installation import REPOSITORY, Installation

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

V1 = BASES["fulfilment"]
TIMEOUT_S = 60


@dataclass
class Reseller:
    """Orders and fetches codes, with retries."""

    customer: Customer

    async def order(self, key: str, *lines: tuple[str, int]) -> Any:
        body = {"clientOrderNumber": key, "products": [{"sku": sku, "quantity": count} for sku, count in lines]}
        reply = await self._with_retry("POST", "/orders", data=json.dumps(body), headers={"Idempotency-Key": key})
        assert reply.status == 202, reply
        return reply.json

    async def try_order(self, key: str, *lines: tuple[str, int]) -> None:
        """Send an order once, whether or not it succeeds."""
        body = {"clientOrderNumber": key, "products": [{"sku": sku, "quantity": count} for sku, count in lines]}
        reply = await self._call("POST", "/orders", data=json.dumps(body), headers={"Idempotency-Key": key})
        assert reply.status in {202, 502, 503}, reply

    async def read(self, path: str, **params: str) -> Any:
        reply = await self._with_retry("GET", path, params=params)
        assert reply.status == 200, reply
        return reply.json

    async def codes(self, transaction_id: str) -> list[str]:
        """Return the codes of a transaction once it is complete."""
        until = monotonic() + TIMEOUT_S
        while (found := await self.read(f"/orders/{transaction_id}/codes"))["status"] != "COMPLETED":
            assert monotonic() < until, found
            await asyncio.sleep(0.2)
        return [unit["redeemCode"] for line in found["codes"] for unit in line["codes"]]

    async def _with_retry(self, method: str, path: str, **options: Any) -> Reply:
        until = monotonic() + TIMEOUT_S
        while True:
            reply = await self._call(method, path, **options)
            in_progress = reply.status == 409 and reply.code == "IDEMPOTENCY_IN_PROGRESS"
            if reply.status not in {429, 502, 503} and not in_progress:
                return reply
            assert monotonic() < until, reply
            await asyncio.sleep(min(float(reply.headers.get("retry-after", "1")), 1))

    async def _call(self, method: str, path: str, *, headers: dict[str, str] | None = None, **options: Any) -> Reply:
        sent = {"Authorization": f"Bearer {await self.customer.token('fulfilment')}", **(headers or {})}
        return await self.customer.call(method, V1 + path, headers=sent, **options)


def numbers(issued: Any) -> list[str]:
    return [str(one["number"]) for one in issued]


def run_fulfilment_cli(installation: Installation, *arguments: str, **settings: str) -> int:
    """Run `python -m services fulfilment …`; return its exit code."""
    environment = {**installation.environment_of("fulfilment"), **settings}
    return installation.try_cli("fulfilment", *arguments, settings=environment).returncode


@pytest.fixture
def reseller(customer: Customer) -> Reseller:
    return Reseller(customer)


@pytest.fixture
def sku(installation: Installation, tmp_path: Path) -> str:
    """A product with four codes, A to D."""
    name = f"S-{uuid4().hex[:8]}"
    product = {"sku": name, "name": "Card", "unitPrice": "1.25", "currency": "USD"}
    file = tmp_path / "products.json"
    file.write_text(json.dumps({"products": [{**product, "codes": [f"{name}-{letter}" for letter in "ABCD"]}]}))
    assert run_fulfilment_cli(installation, "products", "put", str(file)) == 0
    return name


@asynccontextmanager
async def dying_fulfilment(installation: Installation, failpoint: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Replace the sandbox's fulfilment by one that dies at a failpoint; start the sandbox's own again at the end."""
    await asyncio.to_thread(installation.run, "stop", "fulfilment")
    environment = {**os.environ, **installation.environment_of("fulfilment"), "FAILPOINTS": failpoint}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.fulfilment",
        cwd=REPOSITORY,
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await wait_ready(environment["OPERATIONS_PORT"])
        yield process
        async with asyncio.timeout(30):
            assert await process.wait() == -signal.SIGKILL
    finally:
        if process.returncode is None:
            os.kill(process.pid, signal.SIGKILL)
            await process.wait()
        await asyncio.to_thread(installation.run, "start", "fulfilment")


async def wait_ready(port: str) -> None:
    until = monotonic() + 30
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"http://127.0.0.1:{port}/ready") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            assert monotonic() < until, "fulfilment did not become ready"
            await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    "failpoint", ["fulfilment.sequence_reserved", "fulfilment.stored", "fulfilment.allocated", "fulfilment.counted"]
)
async def test_no_code_is_lost_or_given_twice_though_fulfilment_is_killed(
    reseller: Reseller, installation: Installation, sku: str, failpoint: str
) -> None:
    """Breaks: the service dies by SIGKILL while it places an order or fulfils it; another process goes on.

    Must hold: each order is one transaction on one purchase order, and has codes of its own. Known by the responses to
    the same requests sent again, by the list, and by each code occurring once.
    """
    keys = [f"{sku}-{number}" for number in (1, 2)]
    await reseller.customer.token("fulfilment")
    async with dying_fulfilment(installation, failpoint):
        for key in keys:
            await reseller.try_order(key, (sku, 2))
    placed = [await reseller.order(key, (sku, 2)) for key in keys]
    for key, one in zip(keys, placed, strict=True):
        (listed,) = (await reseller.read("/orders", clientOrderNumber=key))["result"]
        assert (listed["transactionId"], listed["purchaseOrder"]) == (one["transactionId"], one["purchaseOrder"])
    codes = [code for one in placed for code in await reseller.codes(one["transactionId"])]
    assert sorted(codes) == [f"{sku}-{letter}" for letter in "ABCD"]


@pytest.mark.parametrize("failpoint", ["fulfilment.closing", "fulfilment.issuing", "fulfilment.issued"])
async def test_a_day_has_its_invoices_though_the_closer_is_killed(
    reseller: Reseller, installation: Installation, sku: str, failpoint: str
) -> None:
    """Breaks: the process that closes a day dies by SIGKILL; an order arrives, then two others close concurrently.

    Must hold: one invoice for each purchase order, each order on one of them, numbers without gaps. Known by what is
    issued.
    """
    placed = [await reseller.order(f"{sku}-{number}", (name, 1)) for number, name in enumerate((sku, "DEMO-EUR"))]
    days = {one["purchaseOrder"]["businessDate"] for one in placed}
    close = ("close-day", "--date")
    died = await asyncio.to_thread(run_fulfilment_cli, installation, *close, max(days), FAILPOINTS=failpoint)
    assert died == -signal.SIGKILL
    between = await reseller.order(f"{sku}-between", (sku, 1))
    for day in sorted({*days, between["purchaseOrder"]["businessDate"]}):
        closers = [asyncio.to_thread(run_fulfilment_cli, installation, *close, day) for _ in range(2)]
        assert await asyncio.gather(*closers) == [0, 0]
    issued = (await reseller.read("/invoices", rows="1000"))["result"]
    for year in {number[:4] for number in numbers(issued)}:
        counted = [int(number[5:]) for number in numbers(issued) if number.startswith(year)]
        assert sorted(counted) == list(range(1, len(counted) + 1))
    for one in (*placed, between):
        (invoice,) = (found for found in issued if found["purchaseOrderId"] == one["purchaseOrder"]["id"])
        order = await reseller.read(f"/purchase-orders/{one['purchaseOrder']['id']}", rows="1000")
        assert one["transactionId"] in {listed["transactionId"] for listed in order["transactions"]}
        assert invoice["transactions"] == order["totals"]["transactions"]
        assert invoice["total"] == order["totals"]["amount"]
