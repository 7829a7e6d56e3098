"""HTTP handlers for purchase orders and invoices."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from services.chassis.http.negotiation import negotiate
from services.chassis.http.page_limits import PageLimits
from services.chassis.http.paging import PageTokenCodec
from services.chassis.http.responses import json_response
from services.chassis.runtime.errors import Problem
from services.fulfilment.domain.business_day import business_date
from services.fulfilment.domain.ids import parse_id
from services.fulfilment.domain.listing import InvoiceQuery, TransactionQuery
from services.fulfilment.domain.purchase_order import PurchaseOrder
from services.fulfilment.http import params, responses
from services.fulfilment.http.authentication import Authenticator, Caller
from services.fulfilment.ports import InvoiceRenderer, InvoiceStore, PurchaseOrderStore, TransactionReader

BASE = "/fulfilment/v1"
SCOPE = "invoices:read"
JSON, PDF, HTML = "application/json", "application/pdf", "text/html"


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoicesApi:
    """Handlers for purchase orders and invoices."""

    authenticator: Authenticator
    purchase_orders: PurchaseOrderStore
    transactions: TransactionReader
    invoices: InvoiceStore
    renderer: InvoiceRenderer
    page_tokens: PageTokenCodec
    page_limits: PageLimits
    now_us: Callable[[], int]

    def routes(self) -> Sequence[web.RouteDef]:
        """Return the routes of the handlers."""
        return [
            web.get(BASE + "/purchase-orders", self.list_purchase_orders),
            web.get(BASE + "/purchase-orders/{id}", self.get_purchase_order),
            web.get(BASE + "/invoices", self.list_invoices),
            web.get(BASE + "/invoices/{id}", self.get_invoice),
        ]

    async def list_purchase_orders(self, request: web.Request) -> web.Response:
        """Return the customer's purchase orders of a day, one per currency."""
        caller = await self.authenticator.authenticate_reader(request, SCOPE)
        self.page_limits.check_unsent(caller.client_id)
        today = business_date(self.now_us(), caller.customer.time_zone).isoformat()
        day = params.parse_date(request.query, "date") or today
        orders = await self.purchase_orders.list_by_day(caller.site, day)
        results = [await self._with_transactions(request, caller, order) for order in orders]
        links = results[0][1] if len(results) == 1 else {}
        body = {"businessDate": day, "result": [order for order, _ in results]}
        return self.page_limits.json_response(caller.client_id, body, headers={**responses.PRIVATE, **links})

    async def get_purchase_order(self, request: web.Request) -> web.Response:
        """Return a purchase order: merged lines, totals, and a page of its transactions."""
        caller = await self.authenticator.authenticate_reader(request, SCOPE)
        order = await self.purchase_orders.find(parse_id(request.match_info["id"]))
        if order is None or order.site != caller.site:
            raise Problem(404, "PURCHASE_ORDER_NOT_FOUND", "there is no such purchase order")
        body, links = await self._with_transactions(request, caller, order)
        return self.page_limits.json_response(caller.client_id, body, headers={**responses.PRIVATE, **links})

    async def _with_transactions(
        self, request: web.Request, caller: Caller, order: PurchaseOrder
    ) -> tuple[dict[str, Any], Mapping[str, str]]:
        """Return the purchase order with a page of its transactions, and the header that links to the next page."""
        query = TransactionQuery(site=order.site, rows=params.parse_page_rows(request.query), purchase_order=order.id)
        async with self.page_limits.rendering(caller.client_id) as rendering:
            page, pagination, links = await params.paginate(
                request, query, self.transactions.find_page, responses.transaction_status, self.page_tokens
            )
            rendering.set_size(sum(map(len, page)))
        body = responses.purchase_order(order, await self.transactions.totals(order.id))
        return {**body, "pagination": pagination, "transactions": page}, links

    async def list_invoices(self, request: web.Request) -> web.Response:
        """Return the customer's invoices and credit notes, newest first."""
        caller = await self.authenticator.authenticate_reader(request, SCOPE)
        query = InvoiceQuery(
            site=caller.site,
            rows=params.parse_page_rows(request.query),
            from_date=params.parse_date(request.query, "from"),
            to_date=params.parse_date(request.query, "to"),
        )
        async with self.page_limits.rendering(caller.client_id) as rendering:
            page, pagination, links = await params.paginate(
                request, query, self.invoices.find_page, responses.invoice, self.page_tokens
            )
            rendering.set_size(sum(map(len, page)))
        return self.page_limits.json_response(
            caller.client_id, {"pagination": pagination, "result": page}, headers={**responses.PRIVATE, **links}
        )

    async def get_invoice(self, request: web.Request) -> web.Response:
        """Return an invoice or credit note as JSON, HTML or PDF."""
        caller = await self.authenticator.authenticate_reader(request, SCOPE)
        media_type = negotiate(request, (JSON, PDF, HTML))
        if media_type is None:
            raise Problem(406, "NOT_ACCEPTABLE", f"invoices are available as {JSON}, {PDF} or {HTML}")
        invoice = await self.invoices.find(parse_id(request.match_info["id"]))
        if invoice is None or invoice.draft.customer.site != caller.site:
            raise Problem(404, "INVOICE_NOT_FOUND", "there is no such invoice")
        headers = {**responses.PRIVATE, "Vary": "Accept"}
        if media_type == JSON:
            return json_response(responses.invoice(invoice), headers=headers)
        if media_type == HTML:
            page = await asyncio.to_thread(self.renderer.html, invoice)
            # No script may run on the page, whatever a product's name contains.
            headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'"
            return web.Response(text=page, headers=headers, content_type=HTML, charset="utf-8")
        headers["Content-Disposition"] = f'inline; filename="{invoice.draft.kind.lower()}-{invoice.label}.pdf"'
        document = await asyncio.to_thread(self.renderer.pdf, invoice)
        return web.Response(body=document, headers=headers, content_type=PDF)
