"""Lists, page by page."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from aiohttp import web
from msgspec import Struct
from msgspec.structs import asdict, replace

from services.chassis.http import paging
from services.chassis.http.paging import PageTokenCodec
from services.fulfilment.domain.listing import InvoiceQuery, PageCursor, TransactionQuery
from services.fulfilment.http import params

Asked = TypeVar("Asked", TransactionQuery, InvoiceQuery)
Item = TypeVar("Item")


async def paginate(
    request: web.Request,
    asked: Asked,
    *,
    listed: Callable[[Asked], Awaitable[Sequence[Item]]],
    place: Callable[[Item], PageCursor],
    places: PageTokenCodec,
) -> tuple[Sequence[Item], Mapping[str, object], Mapping[str, str]]:
    """A page of the list that is asked for, its `pagination`, and the header that leads on.

    `listed` gives one more than fits onto the page, if there is one; `place` says where in the list an item stands.
    """
    bound = _bound(asked)
    given = paging.page_token_from_query(request.query)
    if given is not None:
        asked = replace(asked, after=PageCursor(*places.decode(bound, given, parts=2)))
    found = await listed(asked)
    page = found[: asked.rows]
    token = places.encode(bound, place(page[-1])) if len(found) > asked.rows else None
    return (
        page,
        paging.pagination(params.rows_from_query(request.query), len(page), token),
        paging.next_link(request, token),
    )


def _bound(asked: Struct) -> paging.TokenScope:
    """What a page token is good for: this list, with any number of rows."""
    return [type(asked).__name__, *(value for name, value in asdict(asked).items() if name not in ("rows", "after"))]
