"""The fulfilment API in memory: orders, their codes, purchase orders and invoices of one site."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2

PRODUCTS = {"CARD-10": ("A card <10>", "10.00"), "CARD-25": ("A card of 25", "25.50")}
CODE = "code-canary-"
PDF = b"%PDF-1.7 an invoice"


@dataclass(slots=True)
class FakeFulfilment:
    """`delivered` is how many units of each line have codes; `sent` are the orders by idempotency key."""

    orders: list[dict[str, Any]] = field(default_factory=list)
    invoices: list[dict[str, Any]] = field(default_factory=list)
    days: list[dict[str, Any]] = field(default_factory=list)
    sent: dict[str, dict[str, Any]] = field(default_factory=dict)
    has_pins: bool = True

    def answer(self, request: httpx2.Request, path: Sequence[str]) -> httpx2.Response:  # noqa: PLR0911 - a line for each route
        """Answer a request below `/fulfilment/v1`."""
        match request.method, *path:
            case ["POST", "orders"]:
                return self._place(request)
            case ["GET", "orders"]:
                wanted = request.url.params.get("clientOrderNumber")
                found = [each for each in self.orders if wanted in (None, each["clientOrderNumber"])]
                return _page(request, found[::-1])
            case ["GET", "orders", order_id, *rest]:
                found = [each for each in self.orders if each["transactionId"] == order_id]
                if not found:
                    return _problem(404, "TRANSACTION_NOT_FOUND")
                body = self._codes(request, found[0]) if rest else found[0]
                return httpx2.Response(200, json=body)
            case ["GET", "purchase-orders"]:
                return httpx2.Response(200, json={"businessDate": "2026-11-30", "result": self.days})
            case ["GET", "invoices"]:
                return _page(request, self.invoices)
            case ["GET", "invoices", invoice_id]:
                found = [each for each in self.invoices if each["id"] == invoice_id]
                if not found:
                    return _problem(404, "INVOICE_NOT_FOUND")
                if request.headers["Accept"] == "application/pdf":
                    return httpx2.Response(200, content=PDF)
                return httpx2.Response(200, json=found[0])
        return _problem(404, "NOT_FOUND")

    def _place(self, request: httpx2.Request) -> httpx2.Response:
        key, wanted = request.headers["Idempotency-Key"], json.loads(request.content)
        if key in self.sent:
            return httpx2.Response(202, json=self.sent[key])
        errors = [
            {"pointer": f"/products/{number}/sku", "code": "UNKNOWN_SKU", "detail": "there is no such product"}
            for number, line in enumerate(wanted["products"])
            if line["sku"] not in PRODUCTS
        ]
        if errors:
            return _problem(422, "UNKNOWN_SKU", errors=errors)
        number = wanted.get("clientOrderNumber")
        for each in self.orders:
            if number is not None and each["clientOrderNumber"] == number:
                if [line["quantity"] for line in each["lines"]] != [line["quantity"] for line in wanted["products"]]:
                    return _problem(409, "DUPLICATE_CLIENT_ORDER")
                return httpx2.Response(200, json=each | {"duplicate": True})
        order = an_order(
            len(self.orders), {line["sku"]: line["quantity"] for line in wanted["products"]}, number=number
        )
        self.orders.append(order)
        self.sent[key] = order
        return httpx2.Response(202, json=order)

    def _codes(self, request: httpx2.Request, order: dict[str, Any]) -> dict[str, Any]:
        found = []
        for line in order["lines"]:
            if line["sku"] != request.url.params.get("sku", line["sku"]):
                continue
            units: list[dict[str, Any]] = []
            for number in range(line["ordered"]):
                unit = {"stockId": f"stock-{number}", "status": "PROCESSING"}
                if number < line["delivered"]:
                    unit |= {"status": "COMPLETED", "redeemCode": f"{CODE}{number}", "pinCode": f"{number:04}"}
                units.append(unit)
            found.append({"sku": line["sku"], "codes": units})
        body = {name: order[name] for name in ("transactionId", "status", "counts")}
        return body | {"codes": found}


def an_order(position: int, quantities: dict[str, int], *, delivered: int = 0, **fields: Any) -> dict[str, Any]:
    """Return a transaction; `delivered` units of each line have codes."""
    lines = [a_line(sku, quantity, min(delivered, quantity)) for sku, quantity in quantities.items()]
    counts = {name: sum(line[name] for line in lines) for name in ("ordered", "delivered", "pending", "cancelled")}
    return {
        "transactionId": f"{position:08}-cdbe-11f0-8de9-0242ac120002",
        "clientOrderNumber": fields.get("number"),
        "purchaseOrder": {"id": "po-1", "businessDate": "2026-11-30", "currency": "USD"},
        "status": "PROCESSING" if counts["pending"] else "COMPLETED",
        "lines": lines,
        "counts": counts,
        "total": "10.00",
        "createdAt": "2026-11-30T10:00:00Z",
        "deadline": "2026-12-07T10:00:00Z",
    }


def a_line(sku: str, quantity: int, delivered: int) -> dict[str, Any]:
    """Return a line of a transaction, a purchase order or an invoice."""
    name, price = PRODUCTS[sku]
    counts = {"ordered": quantity, "delivered": delivered, "pending": quantity - delivered, "cancelled": 0}
    return {"sku": sku, "name": name, "quantity": quantity, "unitPrice": price, "amount": "10.00", **counts}


def a_day(**fields: Any) -> dict[str, Any]:
    """Return a purchase order."""
    counts = {"ordered": 3, "delivered": 1, "pending": 2, "cancelled": 0}
    return {
        "id": "po-1",
        "businessDate": "2026-11-30",
        "currency": "USD",
        "state": "OPEN",
        "lines": [a_line("CARD-10", 3, 1)],
        "totals": {**counts, "transactions": 2, "amount": "30.00"},
        "transactions": [],
        **fields,
    }


def an_invoice(number: int = 1, **fields: Any) -> dict[str, Any]:
    """Return an invoice."""
    return {
        "id": f"invoice-{number}",
        "kind": "INVOICE",
        "number": f"2026-{number:06}",
        "purchaseOrderId": "po-1",
        "businessDate": "2026-11-30",
        "currency": "USD",
        "issuer": {
            "name": "Issuer Ltd",
            "address": "1 Road\nTown",
            "taxId": "T1",
            "bank": "IBAN 1",
            "terms": "30 days",
        },
        "customer": {"site": 608, "name": "Customer & Sons", "address": None, "taxId": None},
        "transactions": 2,
        "lines": [a_line("CARD-10", 3, 1), a_line("CARD-25", 2, 2)],
        "total": "81.005",
        "issuedAt": "2026-11-30T23:00:00Z",
        **fields,
    }


def _page(request: httpx2.Request, items: list[dict[str, Any]]) -> httpx2.Response:
    rows, token = int(request.url.params.get("rows", 50)), request.url.params.get("page", "0")
    if not token.isdigit():
        return _problem(400, "INVALID_PAGE_TOKEN")
    shown = items[int(token) : int(token) + rows]
    following = str(int(token) + rows) if len(items) > int(token) + rows else None
    return httpx2.Response(
        200, json={"pagination": {"rows": rows, "count": len(shown), "nextPageToken": following}, "result": shown}
    )


def _problem(status: int, code: str, **members: Any) -> httpx2.Response:
    return httpx2.Response(status, json={"detail": "a reason", "code": code, "requestId": "r1", **members})
