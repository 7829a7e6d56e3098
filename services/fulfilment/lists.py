"""Pages of a customer's transactions."""

from collections.abc import Sequence

from aiohttp import web
from msgspec.structs import replace

from services.chassis import paging
from services.chassis.paging import SignedPlaces
from services.fulfilment.domain.listing import After, TransactionsAsked
from services.fulfilment.domain.transaction import Transaction
from services.fulfilment.ports import ListedTransactions


async def page_of_transactions(
    request: web.Request, asked: TransactionsAsked, lists: ListedTransactions, places: SignedPlaces
) -> tuple[Sequence[Transaction], object, dict[str, str]]:
    """A page of the list that is asked for, its `pagination`, and the header that leads on."""
    bound: paging.Bound = [
        "transactions",
        asked.site,
        asked.client_order_number,
        asked.transaction_id,
        asked.purchase_order,
        asked.from_us,
        asked.to_us,
    ]
    given = paging.page_of(request.query)
    if given is not None:
        asked = replace(asked, after=After(*places.read(bound, given, parts=2)))
    found = await lists.listed(asked)
    page = found[: asked.rows]
    last = page[-1] if len(found) > asked.rows else None
    token = places.made(bound, [last.created_us, last.id]) if last is not None else None
    return page, paging.pagination(asked.rows, len(page), token), dict(paging.next_link(request, token))
