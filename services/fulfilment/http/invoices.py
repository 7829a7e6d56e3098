"""The fulfilment API: purchase orders and invoices."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiohttp import web

from services.chassis.http.paging import PageTokenCodec
from services.chassis.http.server import json_response
from services.chassis.runtime.errors import Problem
from services.fulfilment.domain.business_day import business_date
from services.fulfilment.domain.listing import InvoiceQuery, TransactionQuery, invoice_cursor, transaction_cursor
from services.fulfilment.domain.purchase_order import PurchaseOrder
from services.fulfilment.http import params, responses
from services.fulfilment.http.authentication import Authenticator
from services.fulfilment.http.lists import paginate
from services.fulfilment.ports import InvoiceRenderer, ListedTransactions, ShownInvoices, ShownPurchaseOrders

BASE = "/fulfilment/v1"
SCOPE = "invoices:read"
JSON, PDF, HTML = "application/json", "application/pdf", "text/html"


class InvoicesApi:
    """Handlers about purchase orders and invoices."""

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        purchase_orders: ShownPurchaseOrders,
        transactions: ListedTransactions,
        invoices: ShownInvoices,
        renderer: InvoiceRenderer,
        page_tokens: PageTokenCodec,
        now_us: Callable[[], int],
    ) -> None:
        self._desk = authenticator
        self._purchase_orders = purchase_orders
        self._transactions = transactions
        self._invoices = invoices
        self._paper = renderer
        self._places = page_tokens
        self._now_us = now_us

    def routes(self) -> Sequence[web.RouteDef]:
        """Every address about purchase orders and invoices."""
        return [
            web.get(BASE + "/purchase-orders", self.day),
            web.get(BASE + "/purchase-orders/{id}", self.purchase_order),
            web.get(BASE + "/invoices", self.list),
            web.get(BASE + "/invoices/{id}", self.invoice),
        ]

    async def day(self, request: web.Request) -> web.Response:
        """The customer's purchase orders of a day: one per currency."""
        caller = await self._desk.authenticate_reader(request, SCOPE)
        today = business_date(self._now_us(), caller.customer.time_zone).isoformat()
        day = params.date_from_query(request.query, "date") or today
        orders = await self._purchase_orders.list_by_day(caller.site, day)
        shown = [await self._whole(request, order) for order in orders]
        links = shown[0][1] if len(shown) == 1 else {}
        body = {"businessDate": day, "result": [order for order, _ in shown]}
        return json_response(body, headers={**responses.PRIVATE, **links})

    async def purchase_order(self, request: web.Request) -> web.Response:
        """A purchase order: merged lines, totals, and its transactions page by page."""
        caller = await self._desk.authenticate_reader(request, SCOPE)
        order = await self._purchase_orders.find(request.match_info["id"])
        if order is None or order.site != caller.site:
            raise Problem(404, "PURCHASE_ORDER_NOT_FOUND", "there is no such purchase order")
        body, links = await self._whole(request, order)
        return json_response(body, headers={**responses.PRIVATE, **links})

    async def _whole(self, request: web.Request, order: PurchaseOrder) -> tuple[dict[str, Any], Mapping[str, str]]:
        """The purchase order with a page of its transactions, and the header that leads on."""
        asked = TransactionQuery(
            site=order.site, rows=params.page_rows_from_query(request.query), purchase_order=order.id
        )
        found, page, links = await paginate(
            request, asked, listed=self._transactions.find_page, place=transaction_cursor, places=self._places
        )
        body = responses.purchase_order(order, await self._transactions.totals(order.id))
        return {**body, "pagination": page, "transactions": [responses.transaction_status(one) for one in found]}, links

    async def list(self, request: web.Request) -> web.Response:
        """The customer's invoices and credit notes, newest first."""
        caller = await self._desk.authenticate_reader(request, SCOPE)
        asked = InvoiceQuery(
            site=caller.site,
            rows=params.page_rows_from_query(request.query),
            from_date=params.date_from_query(request.query, "from"),
            to_date=params.date_from_query(request.query, "to"),
        )
        found, page, links = await paginate(
            request, asked, listed=self._invoices.find_page, place=invoice_cursor, places=self._places
        )
        body = {"pagination": page, "result": [responses.invoice(one) for one in found]}
        return json_response(body, headers={**responses.PRIVATE, **links})

    async def invoice(self, request: web.Request) -> web.Response:
        """An invoice or credit note: JSON, a page, or a PDF document."""
        caller = await self._desk.authenticate_reader(request, SCOPE)
        kind = _wanted(request.headers.get("Accept", ""))
        found = await self._invoices.find(request.match_info["id"])
        if found is None or found.draft.customer.site != caller.site:
            raise Problem(404, "INVOICE_NOT_FOUND", "there is no such invoice")
        headers = {**responses.PRIVATE, "Vary": "Accept"}
        if kind == JSON:
            return json_response(responses.invoice(found), headers=headers)
        if kind == HTML:
            text = await asyncio.to_thread(self._paper.html, found)
            # Nothing of a page of ours may run, whoever wrote a product's name.
            headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'"
            return web.Response(text=text, headers=headers, content_type=HTML, charset="utf-8")
        headers["Content-Disposition"] = f'inline; filename="{found.draft.kind.lower()}-{found.label}.pdf"'
        return web.Response(body=await asyncio.to_thread(self._paper.pdf, found), headers=headers, content_type=PDF)


def _wanted(accept: str) -> str:
    """The best of what there is; raises a 406. Whoever does not care gets JSON."""
    ranges = [_range(part) for part in accept.split(",") if part.strip()] or [("*/*", 1.0)]
    best, best_quality = "", 0.0
    for kind in (JSON, PDF, HTML):
        named = [quality for name, quality in ranges if name == kind]
        wide = [quality for name, quality in ranges if name in ("*/*", f"{kind.partition('/')[0]}/*")]
        quality = max(named or wide, default=0.0)
        if quality > best_quality:
            best, best_quality = kind, quality
    if not best:
        raise Problem(406, "NOT_ACCEPTABLE", f"invoices come as {JSON}, {PDF} or {HTML}")
    return best


def _range(part: str) -> tuple[str, float]:
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return name, float(parameter[2:])
            except ValueError:
                return name, 0.0
    return name, 1.0
