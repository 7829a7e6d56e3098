"""Purchase orders and invoices over HTTP."""

from zoneinfo import ZoneInfo

import pytest

from tests.fulfilment.api_fixtures import V1, ApiClient, api, assert_problem
from tests.fulfilment.harness import SITE, local_time_us

__all__ = ["api"]


async def test_the_days_purchase_order(api: ApiClient) -> None:
    for _ in range(3):
        await api.order(("CARD", 2), ("PENNY", 1))
    today = await api.read(V1 + "/purchase-orders")
    (order,) = today["result"]
    assert (today["businessDate"], order["state"], order["totals"]["amount"]) == ("2026-03-04", "OPEN", "59.940003")
    whole = await api.read(f"{V1}/purchase-orders/{order['id']}")
    assert whole == order
    assert len(whole["transactions"]) == 3
    whole = await api.read(f"{V1}/purchase-orders/{order['id']}", rows="2")
    assert [(line["sku"], line["ordered"]) for line in whole["lines"]] == [("CARD", 6), ("PENNY", 3)]
    assert len(whole["transactions"]) == 2
    rest = await api.read(f"{V1}/purchase-orders/{order['id']}", rows="2", page=whole["pagination"]["nextPageToken"])
    assert len(rest["transactions"]) == 1
    day = await api.call("GET", V1 + "/purchase-orders", rows="2")
    assert (await day.json())["result"] == [whole]
    (last,) = (await api.read(day.headers["Link"].partition(">")[0][1:]))["result"]
    assert last["transactions"] == rest["transactions"]
    assert (await api.read(V1 + "/purchase-orders", date="2026-03-03"))["result"] == []
    await assert_problem(await api.call("GET", V1 + "/purchase-orders", date="20260304"), 400, "INVALID_DATE")


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
        ("application/pdf;q=high, text/html;q=0.1", "text/html"),
        ("application/json;q=0, application/*", "application/pdf"),
    ],
)
async def test_an_invoice_in_three_forms(api: ApiClient, accept: str | None, kind: str) -> None:
    placed = await api.order(("CARD", 1))
    api.harness.clock.advance(days=1)
    await api.harness.close_days()
    (invoice,) = (await api.read(V1 + "/invoices"))["result"]
    assert (invoice["number"], invoice["total"]) == ("2026-000001", "9.99")
    assert invoice["purchaseOrderId"] == placed["purchaseOrder"]["id"]
    shown = await api.call("GET", f"{V1}/invoices/{invoice['id']}", headers={"Accept": accept} if accept else {})
    assert (shown.status, shown.content_type) == (200, kind)
    assert (shown.headers["Vary"], shown.headers["Cache-Control"]) == ("Accept", "private, no-cache")
    name = 'inline; filename="invoice-2026-000001.pdf"' if kind == "application/pdf" else None
    assert shown.headers.get("Content-Disposition") == name
    assert ("default-src 'none'" in shown.headers.get("Content-Security-Policy", "")) is (kind == "text/html")
    closed = await api.read(f"{V1}/purchase-orders/{invoice['purchaseOrderId']}")
    assert (closed["state"], closed["invoiceId"]) == ("CLOSED", invoice["id"])
    refused = await api.call("GET", f"{V1}/invoices/{invoice['id']}", headers={"Accept": "image/png"})
    await assert_problem(refused, 406, "NOT_ACCEPTABLE")


async def test_an_invoice_names_its_issuer_and_its_customer(api: ApiClient) -> None:
    await api.order(("CARD", 1))
    api.harness.clock.advance(days=1)
    await api.harness.close_days()
    (invoice,) = (await api.read(V1 + "/invoices"))["result"]
    assert invoice["issuer"] == {
        "name": "Us",
        "address": "1 Main St\nTown",
        "taxId": "US-1",
        "bank": "IBAN XX12",
        "terms": "14 days",
    }
    customer = {"site": SITE, "name": f"Customer {SITE}", "address": "2 Side St\nVillage", "taxId": "FR 12"}
    assert invoice["customer"] == customer
    page = await api.call("GET", f"{V1}/invoices/{invoice['id']}", headers={"Accept": "text/html"})
    for text in ("Us", "1 Main St", "US-1", "IBAN XX12", "14 days", "2 Side St", "FR 12"):
        assert text in await page.text()


async def test_a_credit_note_names_its_invoice_and_gives_back_what_was_cancelled(api: ApiClient) -> None:
    placed = await api.order(("DEMO-CANCEL", 2), ("CARD", 1))
    for _ in range(2):
        api.harness.clock.advance(days=1)
        await api.harness.close_days()
        await api.harness.fulfil(placed["transactionId"])
    api.harness.clock.advance(days=1)
    await api.harness.close_days()
    note, invoice = (await api.read(V1 + "/invoices"))["result"]
    assert (note["kind"], note["creditFor"], note["total"]) == ("CREDIT_NOTE", invoice["id"], "-20.00")
    assert [(line["ordered"], line["cancelled"], line["quantity"]) for line in note["lines"]] == [(2, 2, -2)]
    assert [line["quantity"] for line in invoice["lines"]] == [2, 1]
    assert (invoice["businessDate"], invoice["issuedAt"]) == ("2026-03-04", "2026-03-05T12:00:00.000000Z")
    order = await api.read(f"{V1}/purchase-orders/{invoice['purchaseOrderId']}")
    assert {name: order["totals"][name] for name in ("ordered", "delivered", "pending", "cancelled")} == {
        "ordered": 3,
        "delivered": 0,
        "pending": 1,
        "cancelled": 2,
    }


async def test_an_order_that_is_closing_names_no_invoice_yet(api: ApiClient) -> None:
    placed = await api.order(("CARD", 1))
    path = f"{V1}/purchase-orders/{placed['purchaseOrder']['id']}"
    await api.harness.purchase_orders.begin_closing(placed["purchaseOrder"]["id"])
    shown = await api.read(path)
    assert (shown["state"], "invoiceId" in shown) == ("CLOSING", False)


async def test_today_is_the_customers_and_each_currency_goes_on_by_itself(api: ApiClient) -> None:
    api.harness.customers.time_zones[SITE] = ZoneInfo("Asia/Tokyo")
    api.harness.clock.now_us = local_time_us("2026-03-04T23:00:00")
    for sku in ("CARD", "CARD", "CARD-EUR", "CARD-EUR"):
        await api.order((sku, 1))
    response = await api.call("GET", V1 + "/purchase-orders", rows="1")
    day = await response.json()
    assert (day["businessDate"], "Link" in response.headers) == ("2026-03-05", False)
    for order in day["result"]:
        rest = await api.read(
            f"{V1}/purchase-orders/{order['id']}", rows="1", page=order["pagination"]["nextPageToken"]
        )
        assert len({row["transactionId"] for row in order["transactions"] + rest["transactions"]}) == 2
