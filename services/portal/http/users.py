"""Users: their orders and returns, and erasing them. No user's id is in a log, a metric or a referrer."""

from collections.abc import Sequence
from urllib.parse import quote

from aiohttp import web

from services.portal.domain.orders import describe_order
from services.portal.flows.users import list_orders
from services.portal.http.pages import Pages
from services.portal.http.visits import PageError, Visit, not_found
from tillstream import InvalidRequestError, NotFoundError

BASE, SCOPE, ERASE_SCOPE = "/portal/users", "sales:read", "sales:erase"
MAX_ID_CHARACTERS = 256
# Of an order with more lines, the rest is in the export.
MAX_SHOWN_LINES = 20
BACK = ("Find another user", BASE)


class UserPages:
    """The pages of users."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    def routes(self) -> Sequence[web.RouteDef]:
        """All routes."""
        return [
            self._pages.get(BASE, self.ask, scope=SCOPE),
            self._pages.post(BASE, self.find, scope=SCOPE),
            self._pages.get(BASE + "/{userId}", self.show, scope=SCOPE),
            self._pages.get(BASE + "/{userId}/erase", self.confirm, scope=ERASE_SCOPE),
            self._pages.post(BASE + "/{userId}/erase", self.erase, scope=ERASE_SCOPE),
            self._pages.get(BASE + "/erasures/{receiptId}", self.show_receipt, scope=ERASE_SCOPE),
        ]

    async def ask(self, visit: Visit) -> web.StreamResponse:
        """The form that finds a user."""
        return self._pages.page(visit, "users.html")

    async def find(self, visit: Visit) -> web.StreamResponse:
        """Lead to a user's page; the id is in the form's body, as queries end up in logs."""
        user_id = visit.form.get("user", "").strip()
        if not user_id:
            raise web.HTTPSeeOther(BASE)
        if len(user_id) > MAX_ID_CHARACTERS or user_id in (".", ".."):
            raise not_found("user", back=BACK)
        raise web.HTTPSeeOther(_address(user_id))

    async def show(self, visit: Visit) -> web.StreamResponse:
        """A user's orders and returns, newest first."""
        user_id, token = visit.request.match_info["userId"], visit.query.get("page")
        address = _address(user_id)
        try:
            page = await list_orders(visit.client, user_id, page_token=token)
        except InvalidRequestError as error:
            back = ("First page", address)
            raise PageError(400, "This page of the orders is gone", "Begin at the first one.", back=back) from error
        if not page.items and token is None:
            # Nobody can tell an unknown user from one of another site, or from an erased one.
            detail = "No order or return on your site names this user: check the id, also upper and lower case."
            raise PageError(404, "No such user", detail, back=BACK)
        following = page.next_page_token
        return self._pages.page(
            visit,
            "user.html",
            user_id=user_id,
            orders=[describe_order(entry) for entry in page.items],
            address=address,
            next_url=None if following is None else f"{address}?page={quote(following, safe='')}",
            is_first=token is None,
            max_lines=MAX_SHOWN_LINES,
            may_erase=visit.session.may(ERASE_SCOPE),
            may_see_imports=visit.session.may("status:read"),
        )

    async def confirm(self, visit: Visit) -> web.StreamResponse:
        """What erasing means, and the button."""
        user_id = visit.request.match_info["userId"]
        return self._pages.page(visit, "user_erase.html", user_id=user_id, address=_address(user_id))

    async def erase(self, visit: Visit) -> web.StreamResponse:
        """Erase a user and lead to the receipt. Repeating it leads to the same one."""
        receipt = await visit.client.ledger.erase_user(visit.request.match_info["userId"])
        raise web.HTTPSeeOther(f"{BASE}/erasures/{quote(receipt.receipt_id, safe='')}")

    async def show_receipt(self, visit: Visit) -> web.StreamResponse:
        """How far an erasure is."""
        try:
            receipt = await visit.client.ledger.erasure(visit.request.match_info["receiptId"])
        except NotFoundError:
            raise not_found("receipt", back=BACK) from None
        return self._pages.page(visit, "user_receipt.html", receipt=receipt)


def _address(user_id: str) -> str:
    return f"{BASE}/{quote(user_id, safe='@', errors='replace')}"
