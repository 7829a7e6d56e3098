"""Purchase orders of a day, and invoices as pages and PDF."""

from collections.abc import Sequence
from urllib.parse import quote, urlencode

from aiohttp import web

from services.portal.domain.codes import DAY_STATES
from services.portal.http.codes import BASE, parse_day, parse_days, tabs
from services.portal.http.file_responses import file_headers
from services.portal.http.pages import Pages
from services.portal.http.visits import PageError, Visit, not_found
from tillstream import InvalidRequestError, NotFoundError
from tillstream.models import Invoice

DAYS, INVOICES, SCOPE = f"{BASE}/days", f"{BASE}/invoices", "invoices:read"
BACK = ("All invoices", INVOICES)
INVOICES_PER_PAGE = 50
KINDS = {"INVOICE": "Invoice", "CREDIT_NOTE": "Credit note"}


class InvoicePages:
    """The pages of purchase orders and invoices."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    def routes(self) -> Sequence[web.RouteDef]:
        """All routes."""
        return [
            self._pages.get(DAYS, self.show_day, scope=SCOPE),
            self._pages.get(INVOICES, self.list, scope=SCOPE),
            self._pages.get(INVOICES + "/{invoiceId}.pdf", self.download, scope=SCOPE),
            self._pages.get(INVOICES + "/{invoiceId}", self.show, scope=SCOPE),
        ]

    async def show_day(self, visit: Visit) -> web.StreamResponse:
        """The purchase orders of a business day: one of each currency."""
        problems: list[str] = []
        day = parse_day(visit.query, "date", "The day", problems)
        orders = await visit.client.orders.purchase_orders(day)
        return self._pages.page(
            visit,
            "codes_days.html",
            tabs=tabs(visit),
            orders=[(each, *DAY_STATES.get(each.state, (each.state.capitalize(), "neutral"))) for each in orders],
            day="" if day is None else day.isoformat(),
            problems=problems,
        )

    async def list(self, visit: Visit) -> web.StreamResponse:
        """Invoices and credit notes, newest first."""
        problems: list[str] = []
        filters = {name: visit.query[name] for name in ("from", "to") if visit.query.get(name)}
        since, until = parse_days(filters, problems)
        token = visit.query.get("page")
        try:
            page = await visit.client.invoices.list_page(
                since=since,
                until=until,
                rows=INVOICES_PER_PAGE,
                page_token=token,
            )
        except InvalidRequestError as error:
            raise PageError(400, "This page of the list is gone", "Begin at the first one.", back=BACK) from error
        following = page.next_page_token
        return self._pages.page(
            visit,
            "codes_invoices.html",
            tabs=tabs(visit),
            invoices=page.items,
            kinds=KINDS,
            filters=filters,
            problems=problems,
            first_url=f"{INVOICES}?{urlencode(filters)}" if filters else INVOICES,
            next_url=None if following is None else f"{INVOICES}?{urlencode({**filters, 'page': following})}",
            is_first=token is None,
        )

    async def show(self, visit: Visit) -> web.StreamResponse:
        """An invoice."""
        invoice = await _find(visit)
        address = f"{INVOICES}/{quote(invoice.id, safe='')}"
        kind = KINDS.get(invoice.kind, invoice.kind)
        return self._pages.page(visit, "codes_invoice.html", invoice=invoice, kind=kind, address=address)

    async def download(self, visit: Visit) -> web.StreamResponse:
        """An invoice as PDF, as it was issued."""
        invoice = await _find(visit)
        body = await visit.client.invoices.download(invoice.id, format="pdf")
        kind = KINDS.get(invoice.kind, "Document").lower().replace(" ", "-")
        return web.Response(body=body, headers=file_headers(f"{kind}-{invoice.number}.pdf"))


async def _find(visit: Visit) -> Invoice:
    try:
        return await visit.client.invoices.get(visit.request.match_info["invoiceId"])
    except NotFoundError:
        raise not_found("invoice", back=BACK) from None
