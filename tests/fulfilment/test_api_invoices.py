"""Purchase orders and invoices over HTTP."""

import pytest

from tests.fulfilment.api_side import V1, Caller, caller, problem

__all__ = ["caller"]


async def test_the_days_purchase_order(caller: Caller) -> None:
    for _ in range(3):
        await caller.order(("CARD", 2), ("PENNY", 1))
    today = await caller.read(V1 + "/purchase-orders")
    (order,) = today["result"]
    assert (today["businessDate"], order["state"], order["totals"]["amount"]) == ("2026-03-04", "OPEN", "59.940003")
    whole = await caller.read(f"{V1}/purchase-orders/{order['id']}")
    assert whole == order
    assert len(whole["transactions"]) == 3
    whole = await caller.read(f"{V1}/purchase-orders/{order['id']}", rows="2")
    assert [(line["sku"], line["ordered"]) for line in whole["lines"]] == [("CARD", 6), ("PENNY", 3)]
    assert len(whole["transactions"]) == 2
    rest = await caller.read(f"{V1}/purchase-orders/{order['id']}", rows="2", page=whole["pagination"]["nextPageToken"])
    assert len(rest["transactions"]) == 1
    day = await caller.call("GET", V1 + "/purchase-orders", rows="2")
    assert (await day.json())["result"] == [whole]
    (last,) = (await caller.read(day.headers["Link"].partition(">")[0][1:]))["result"]
    assert last["transactions"] == rest["transactions"]
    assert (await caller.read(V1 + "/purchase-orders", date="2026-03-03"))["result"] == []
    await problem(await caller.call("GET", V1 + "/purchase-orders", date="20260304"), 400, "INVALID_DATE")


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("application/pdf", "application/pdf"),
        ("text/html", "text/html"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html"),
        ("application/pdf;q=0.5, application/json;q=0.4", "application/pdf"),
        ("application/*", "application/json"),
    ],
)
async def test_an_invoice_in_three_forms(caller: Caller, accept: str | None, kind: str) -> None:
    placed = await caller.order(("CARD", 1))
    caller.shop.clock.pass_(days=1)
    await caller.shop.close()
    (invoice,) = (await caller.read(V1 + "/invoices"))["result"]
    assert (invoice["number"], invoice["total"]) == ("2026-000001", "9.99")
    assert invoice["purchaseOrderId"] == placed["purchaseOrder"]["id"]
    shown = await caller.call("GET", f"{V1}/invoices/{invoice['id']}", headers={"Accept": accept} if accept else {})
    assert (shown.status, shown.content_type) == (200, kind)
    closed = await caller.read(f"{V1}/purchase-orders/{invoice['purchaseOrderId']}")
    assert (closed["state"], closed["invoiceId"]) == ("CLOSED", invoice["id"])
    refused = await caller.call("GET", f"{V1}/invoices/{invoice['id']}", headers={"Accept": "image/png"})
    await problem(refused, 406, "NOT_ACCEPTABLE")
