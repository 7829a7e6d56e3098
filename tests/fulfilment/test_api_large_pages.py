"""Pages of large orders: bounded in bytes, read in portions, and rendered without holding the event loop."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from time import thread_time
from typing import Any

import pytest
from msgspec.structs import replace

from services.fulfilment.adapters import transactions
from services.fulfilment.domain.listing import MAX_PAGE_BYTES, TransactionQuery
from services.fulfilment.wire.documents import transaction_document
from tests.chassis.eventually import until
from tests.fulfilment.api_fixtures import ORDERS, V1, ApiClient, api, assert_problem
from tests.fulfilment.harness import Harness
from tests.support.turns import turns
from tests.support.unsent_bytes import UnsentBytes

__all__ = ["api", "turns"]

MAX_ROW_BYTES = 40_000
MAX_HOLD_S = 0.05


async def place_large_orders(api: ApiClient, count: int) -> list[str]:
    """Store orders of a hundred lines; return their ids, newest first."""
    first = (await api.harness.place(("CARD", 1))).transaction
    lines = tuple(replace(first.lines[0], sku=f"SKU-{number}", name="N" * 100) for number in range(100))
    stored = api.harness.transactions.by_id
    for number in range(count):
        transaction_id = f"{first.id[:-4]}{number:04d}"
        stored[transaction_id] = replace(first, id=transaction_id, sequence=number + 2, lines=lines)
    del stored[first.id]
    return sorted(stored, reverse=True)


async def test_a_page_ends_at_a_number_of_bytes_and_the_next_one_continues(api: ApiClient) -> None:
    ids, walked, query = await place_large_orders(api, 90), [], {"rows": "1000"}
    while True:
        response = await api.call("GET", ORDERS, **query)
        body = await response.read()
        assert len(body) <= MAX_PAGE_BYTES + MAX_ROW_BYTES
        page = json.loads(body)
        walked += [row["transactionId"] for row in page["result"]]
        assert page["pagination"]["count"] == len(page["result"]) > 0
        if page["pagination"]["nextPageToken"] is None:
            break
        query["page"] = page["pagination"]["nextPageToken"]
    assert walked == ids


@pytest.mark.parametrize("orders", [4, 5, 6])
async def test_a_page_is_read_in_portions(api: ApiClient, monkeypatch: pytest.MonkeyPatch, orders: int) -> None:
    monkeypatch.setattr("services.fulfilment.domain.listing.TransactionQuery.max_rows_at_once", 2)
    for _ in range(orders):
        await api.order(("CARD", 1))
    page = await api.read(ORDERS, rows="5")
    assert page["pagination"]["count"] == min(orders, 5)
    assert (page["pagination"]["nextPageToken"] is None) == (orders <= 5)


@pytest.mark.parametrize("path", [ORDERS, V1 + "/invoices", V1 + "/purchase-orders/{id}"])
async def test_lists_of_a_client_are_rendered_one_after_the_other(api: ApiClient, path: str) -> None:
    """Breaks: one client asks for ten pages of large orders at once; all were decoded between two turns of others."""
    await api.order(("CARD", 1))
    api.harness.clock.advance(days=1)
    await api.harness.close_days()
    order_id = (await api.read(V1 + "/invoices"))["result"][0]["purchaseOrderId"]
    async with api.page_limits.rendering("good"):
        waiting = asyncio.create_task(api.call("GET", path.format(id=order_id)))
        await until(lambda: api.page_limits._waiting["good"] == 2)
        assert (await api.call("GET", ORDERS, token="colleague")).status == 200
        assert not waiting.done()
    assert (await waiting).status == 200


async def test_other_tasks_run_while_large_orders_are_decoded(
    mongo_harness: Harness, monkeypatch: pytest.MonkeyPatch, turns: list[int]
) -> None:
    placed = (await mongo_harness.place(("CARD", 1))).transaction
    document = transaction_document(replace(placed, lines=placed.lines * 100))

    async def fetch_all(_cursor: Any) -> list[Any]:
        return [document] * 10

    monkeypatch.setattr(transactions, "fetch_all", fetch_all)
    before = turns[0]
    assert len(await mongo_harness.transactions.find_page(TransactionQuery(site=placed.site))) == 10
    assert turns[0] - before >= 10


async def test_invoices_and_purchase_orders_have_such_pages_too(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.fulfilment.http.params.MAX_PAGE_BYTES", 1)
    for _ in range(2):
        for _ in range(2):
            await api.order(("CARD", 1))
        api.harness.clock.advance(days=1)
        await api.harness.close_days()
    for path, name in ((V1 + "/invoices", "result"), (V1 + "/purchase-orders/{id}", "transactions")):
        order_id = (await api.read(V1 + "/invoices"))["result"][0]["purchaseOrderId"]
        page = await api.read(path.format(id=order_id))
        assert len(page[name]) == 1
        assert page["pagination"]["nextPageToken"] is not None


async def test_pages_count_until_they_are_read_and_a_client_has_a_bound(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I8. Breaks: a client reads a few bytes of each page now and then."""
    await api.order(("CARD", 1))
    api.harness.clock.advance(days=1)
    await api.harness.close_days()
    order_id = (await api.read(V1 + "/invoices"))["result"][0]["purchaseOrderId"]
    lists = (ORDERS, V1 + "/invoices", V1 + "/purchase-orders", f"{V1}/purchase-orders/{order_id}")
    for path in lists:
        unsent = UnsentBytes.of(api.page_limits)
        body = await (await api.call("GET", path)).read()
        assert unsent.highest == len(body) > 0
    monkeypatch.setattr("services.chassis.http.page_limits.MAX_UNSENT_BYTES_PER_CLIENT", 0)
    for path in lists:
        await assert_problem(await api.call("GET", path), 429, "RATE_LIMITED")


@asynccontextmanager
async def longest_hold() -> AsyncIterator[list[float]]:
    """Measure the longest time that the event loop computed without a pause, whatever other processes do."""
    holds = [0.0]

    async def measure() -> None:
        while True:
            began = thread_time()
            await asyncio.sleep(0)
            holds[0] = max(holds[0], thread_time() - began)

    task = asyncio.create_task(measure())
    yield holds
    task.cancel()


async def test_rendering_does_not_hold_the_event_loop(api: ApiClient) -> None:
    await place_large_orders(api, 300)
    request = {"Authorization": "Bearer good"}
    async with longest_hold() as holds, api.client.get(ORDERS, params={"rows": "1000"}, headers=request) as response:
        await response.read()
    assert holds[0] < MAX_HOLD_S


@pytest.mark.parametrize(("units", "queried"), [(600, [None]), (700, [0, 1, 2])])
async def test_the_codes_of_a_large_order_are_read_line_by_line(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch, units: int, queried: list[int | None]
) -> None:
    """I8: an order may have 100,000 units."""
    stock, lines = api.harness.stock, list[int | None]()
    slots_with_codes = stock.slots_with_codes

    def record(transaction_id: str, line: int | None) -> Awaitable[Any]:
        lines.append(line)
        awaitable: Awaitable[Any] = slots_with_codes(transaction_id, line)
        return awaitable

    placed = await api.order(*((sku, units) for sku in ("CARD", "PENNY", "DEMO-NEVER")))
    monkeypatch.setattr(stock, "slots_with_codes", record)
    read = await api.read(f"{ORDERS}/{placed['transactionId']}/codes")
    assert [len(line["codes"]) for line in read["codes"]] == [units] * 3
    assert lines == queried
    (one,) = (await api.read(f"{ORDERS}/{placed['transactionId']}/codes", sku="PENNY"))["codes"]
    assert (one["sku"], len(one["codes"]), lines[-1]) == ("PENNY", units, 1)
