"""Codes: the orders, placing one, and its codes, which are masked until somebody asks for them."""

import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import date
from urllib.parse import quote, urlencode

from aiohttp import web

from services.portal.domain.codes import MAX_FORM_LINES, UNIT_STATES, FormLine, describe_state, read_lines
from services.portal.flows import codes as flow
from services.portal.http.pages import Pages
from services.portal.http.visits import PageError, Visit, not_found
from tillstream import ApiError, InvalidRequestError, NotAllowedError, NotFoundError, TillstreamError
from tillstream.http import IN_PROGRESS
from tillstream.models import Transaction

BASE, SCOPE = "/portal/codes", "orders:read"
BACK = ("All orders", BASE)
MAX_START = 1_000_000
OUTCOME_UNKNOWN = (
    "The order was not confirmed. Press “Place order” once more: it is placed once only, even if it has been."
)
_REFUSALS = frozenset({400, 409, 422})
_KEY = re.compile(r"[0-9a-f]{32}")
_FILTERS = ("number", "from", "to")


class CodePages:
    """The pages of orders of codes."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    def routes(self) -> Sequence[web.RouteDef]:
        """All routes."""
        pages = self._pages
        order = BASE + "/orders/{transactionId}"
        return [
            pages.get(BASE, self.list, scope=SCOPE),
            pages.get(BASE + "/new", self.ask, scope="orders:create"),
            pages.post(BASE + "/new", self.place, scope="orders:create"),
            pages.get(order, self.show, scope=SCOPE),
            pages.get(order + "/codes", self.mask, scope=SCOPE),
            pages.post(order + "/codes", self.show_codes, scope="codes:read"),
        ]

    async def list(self, visit: Visit) -> web.StreamResponse:
        """Orders, newest first."""
        filters = {name: visit.query[name].strip() for name in _FILTERS if visit.query.get(name, "").strip()}
        problems: list[str] = []
        since, until = parse_days(filters, problems)
        token = visit.query.get("page")
        try:
            page = await visit.client.orders.list_page(
                client_order_number=filters.get("number"),
                since=since,
                until=until,
                rows=flow.ORDERS_PER_PAGE,
                page_token=token,
            )
        except InvalidRequestError as error:
            raise PageError(400, "This page of the list is gone", "Begin at the first one.", back=BACK) from error
        first_url = f"{BASE}?{urlencode(filters)}" if filters else BASE
        following = page.next_page_token
        return self._pages.page(
            visit,
            "codes.html",
            tabs=tabs(visit),
            orders=[(each, *describe_state(each.status)) for each in page.items],
            filters=filters,
            problems=problems,
            may_order=visit.session.may("orders:create"),
            first_url=first_url,
            next_url=None if following is None else f"{BASE}?{urlencode({**filters, 'page': following})}",
            is_first=token is None,
        )

    async def ask(self, visit: Visit) -> web.StreamResponse:
        """The form of an order."""
        lines = [FormLine(sku=visit.query.get("sku", ""))] + [FormLine()] * (MAX_FORM_LINES - 1)
        return await self._form(visit, lines, number="", key=secrets.token_hex(16))

    async def _form(
        self,
        visit: Visit,
        lines: Sequence[FormLine],
        *,
        number: str,
        key: str,
        problems: Sequence[str] = (),
        status: int = 200,
    ) -> web.Response:
        suggested = await flow.suggest_products(visit.client) if visit.session.may(SCOPE) and status != 503 else []
        return self._pages.page(
            visit,
            "codes_new.html",
            status=status,
            lines=lines,
            number=number,
            key=key,
            problems=problems,
            suggested=suggested,
        )

    async def place(self, visit: Visit) -> web.StreamResponse:
        """Place an order. The form's key makes a second click, or a repeated request, find the same order."""
        lines, products = read_lines(visit.form)
        number = visit.form.get("number", "").strip()
        key = visit.form.get("key", "")
        if not _KEY.fullmatch(key):
            key = secrets.token_hex(16)
        if any(line.problem for line in lines) or not products:
            problems = [] if products or any(line.problem for line in lines) else ["Name at least one product."]
            return await self._form(visit, lines, number=number, key=key, problems=problems, status=422)
        try:
            placed = await flow.place_order(visit.client, products, number=number, idempotency_key=key)
        except NotAllowedError:
            raise
        except TillstreamError as error:
            if isinstance(error, ApiError) and error.status in _REFUSALS and error.code != IN_PROGRESS:
                # Nothing was ordered, so the corrected form is another order.
                key, status, reasons = secrets.token_hex(16), error.status, describe_refusal(error, list(products))
            else:
                # It may have been placed: with the same key, it is the same order.
                status, reasons = 503, [OUTCOME_UNKNOWN]
            return await self._form(visit, lines, number=number, key=key, problems=reasons, status=status)
        raise web.HTTPSeeOther(_address(placed.transaction_id) + ("?again=1" if placed.duplicate else ""))

    async def show(self, visit: Visit) -> web.StreamResponse:
        """One order: its state to the last code."""
        order = await _find(visit)
        text, tone = describe_state(order.status)
        return self._pages.page(
            visit,
            "codes_order.html",
            order=order,
            state_text=text,
            tone=tone,
            address=_address(order.transaction_id),
            is_finished=order.status != "PROCESSING",
            is_again="again" in visit.query,
            may_see_codes=visit.session.may("codes:read"),
        )

    async def mask(self, visit: Visit) -> web.StreamResponse:
        """The address of shown codes, asked for again: without the form, they stay masked."""
        raise web.HTTPSeeOther(_address(visit.request.match_info["transactionId"]))

    async def show_codes(self, visit: Visit) -> web.StreamResponse:
        """The codes of one product of an order: in the response to a form only, each time audited."""
        transaction_id, sku = visit.request.match_info["transactionId"], visit.form.get("sku", "")
        start = visit.form.get("start", "0")
        begin = int(start) if start.isascii() and start.isdecimal() and len(start) < 8 else 0
        try:
            shown = await flow.show_codes(
                visit.client,
                transaction_id,
                sku,
                min(begin, MAX_START),
                session=visit.session,
                source=self._pages.source_of(visit.request),
                audit=self._pages.sessions.audit,
                trail=self._pages.sessions.trail,
            )
        except NotFoundError:
            raise not_found("order", back=BACK) from None
        address = _address(transaction_id)
        return self._pages.page(visit, "codes_shown.html", shown=shown, address=address, states=UNIT_STATES)


def tabs(visit: Visit) -> Sequence[tuple[str, str]]:
    """Return the parts of the section that a visitor may see."""
    parts = [("Orders", BASE, SCOPE)]
    parts += [("Days", f"{BASE}/days", "invoices:read"), ("Invoices", f"{BASE}/invoices", "invoices:read")]
    return [(text, path) for text, path, scope in parts if visit.session.may(scope)]


def parse_days(filters: dict[str, str], problems: list[str]) -> tuple[date | None, date | None]:
    """Return the first and the last day of a filter; those that are not understood are removed from it."""
    found = []
    for name, label in (("from", "The first day"), ("to", "The last day")):
        found.append(parse_day(filters, name, label, problems))
        if found[-1] is None:
            filters.pop(name, None)
    return found[0], found[1]


def parse_day(query: Mapping[str, str], name: str, label: str, problems: list[str]) -> date | None:
    """Return a day of a query; one that is not understood is added to the problems."""
    try:
        return date.fromisoformat(query[name]) if query.get(name) else None
    except ValueError:
        problems.append(f"{label} must be a day like 2026-11-30; it is ignored.")
        return None


def describe_refusal(error: ApiError, skus: Sequence[str]) -> Sequence[str]:
    """Return why an order was refused, by product where that is known."""
    if error.code == "DUPLICATE_CLIENT_ORDER":
        return ["Another order has this number already. Choose another number, or look that order up."]
    found = []
    for fault in error.faults:
        parts = fault.pointer.strip("/").split("/")
        is_line = len(parts) > 1 and parts[0] == "products" and parts[1].isdecimal() and int(parts[1]) < len(skus)
        detail = fault.detail[:1].upper() + fault.detail[1:]
        found.append(f"{skus[int(parts[1])]}: {detail}." if is_line else f"{detail}.")
    return found or [f"{error.detail[:1].upper()}{error.detail[1:]}."]


async def _find(visit: Visit) -> Transaction:
    try:
        return await visit.client.orders.get(visit.request.match_info["transactionId"])
    except NotFoundError:
        raise not_found("order", back=BACK) from None


def _address(transaction_id: str) -> str:
    return f"{BASE}/orders/{quote(transaction_id, safe='')}"
