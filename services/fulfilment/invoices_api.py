"""The fulfilment API: purchase orders and invoices."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from aiohttp import web
from msgspec.structs import replace

from services.chassis import paging
from services.chassis.errors import Problem
from services.chassis.paging import SignedPlaces
from services.chassis.web import json_response
from services.fulfilment import answers, query
from services.fulfilment.desk import Desk
from services.fulfilment.domain.business_day import business_date
from services.fulfilment.domain.invoice import Invoice
from services.fulfilment.domain.listing import DEFAULT_ROWS, MOST_ROWS, After, InvoicesAsked, TransactionsAsked
from services.fulfilment.lists import page_of_transactions
from services.fulfilment.ports import ListedTransactions, ShownInvoices, ShownPurchaseOrders

BASE = "/fulfilment/v1"
SCOPE = "invoices:read"
JSON, PDF, HTML = "application/json", "application/pdf", "text/html"


class Paper(Protocol):
    """Prints invoices."""

    def html(self, invoice: Invoice) -> str:
        """As a page."""
        ...

    def pdf(self, invoice: Invoice) -> bytes:
        """As a PDF document."""
        ...


class InvoicesApi:
    """Handlers about purchase orders and invoices."""

    def __init__(
        self,
        *,
        desk: Desk,
        purchase_orders: ShownPurchaseOrders,
        transactions: ListedTransactions,
        invoices: ShownInvoices,
        paper: Paper,
        places: SignedPlaces,
        now_us: Callable[[], int],
    ) -> None:
        self._desk = desk
        self._purchase_orders = purchase_orders
        self._transactions = transactions
        self._invoices = invoices
        self._paper = paper
        self._places = places
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
        caller = await self._desk.reader(request, SCOPE)
        today = business_date(self._now_us(), caller.customer.zone).isoformat()
        day = query.day_of(request.query, "date") or today
        orders = await self._purchase_orders.of_day(caller.site, day)
        result = [answers.purchase_order(order, await self._transactions.on_order(order.id)) for order in orders]
        return json_response({"businessDate": day, "result": result}, headers=answers.PRIVATE)

    async def purchase_order(self, request: web.Request) -> web.Response:
        """A purchase order: merged lines, totals, and its transactions page by page."""
        caller = await self._desk.reader(request, SCOPE)
        rows = paging.rows_of(request.query, default=DEFAULT_ROWS, most=MOST_ROWS)
        order = await self._purchase_orders.find(request.match_info["id"])
        if order is None or order.site != caller.site:
            raise Problem(404, "PURCHASE_ORDER_NOT_FOUND", "there is no such purchase order")
        asked = TransactionsAsked(site=caller.site, rows=rows, purchase_order=order.id)
        found, page, links = await page_of_transactions(request, asked, self._transactions, self._places)
        body = answers.purchase_order(order, await self._transactions.on_order(order.id))
        body |= {"pagination": page, "transactions": [answers.shown(one) for one in found]}
        return json_response(body, headers={**answers.PRIVATE, **links})

    async def list(self, request: web.Request) -> web.Response:
        """The customer's invoices and credit notes, newest first."""
        caller = await self._desk.reader(request, SCOPE)
        asked = InvoicesAsked(
            site=caller.site,
            rows=paging.rows_of(request.query, default=DEFAULT_ROWS, most=MOST_ROWS),
            from_on=query.day_of(request.query, "from"),
            to_on=query.day_of(request.query, "to"),
        )
        bound: paging.Bound = ["invoices", asked.site, asked.from_on, asked.to_on]
        given = paging.page_of(request.query)
        if given is not None:
            asked = replace(asked, after=After(*self._places.read(bound, given, parts=2)))
        found = await self._invoices.listed(asked)
        page = found[: asked.rows]
        last = page[-1].draft if len(found) > asked.rows else None
        token = self._places.made(bound, [last.business_date, last.id]) if last is not None else None
        body = {
            "pagination": paging.pagination(asked.rows, len(page), token),
            "result": [answers.invoice(one) for one in page],
        }
        return json_response(body, headers={**answers.PRIVATE, **paging.next_link(request, token)})

    async def invoice(self, request: web.Request) -> web.Response:
        """An invoice or credit note: JSON, a page, or a PDF document."""
        caller = await self._desk.reader(request, SCOPE)
        kind = _wanted(request.headers.get("Accept", ""))
        found = await self._invoices.find(request.match_info["id"])
        if found is None or found.draft.party.site != caller.site:
            raise Problem(404, "INVOICE_NOT_FOUND", "there is no such invoice")
        headers = {**answers.PRIVATE, "Vary": "Accept"}
        if kind == JSON:
            return json_response(answers.invoice(found), headers=headers)
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
