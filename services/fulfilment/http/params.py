"""Query parameters of lists, and their pages. Invalid parameters raise a 400."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from aiohttp import web
from msgspec import Struct
from msgspec.structs import asdict, replace
from multidict import MultiMapping

from services.chassis.http import paging
from services.chassis.http.paging import PageTokenCodec
from services.chassis.http.time_range import parse_day
from services.chassis.runtime.errors import Problem
from services.fulfilment.domain.ids import parse_id
from services.fulfilment.domain.listing import (
    DEFAULT_ROWS,
    MAX_PAGE_ROWS,
    MAX_ROWS,
    InvoiceQuery,
    PageCursor,
    TransactionQuery,
)

Params = MultiMapping[str]
ListQuery = TypeVar("ListQuery", TransactionQuery, InvoiceQuery)
Row = TypeVar("Row")


async def paginate(
    request: web.Request,
    query: ListQuery,
    *,
    find_page: Callable[[ListQuery], Awaitable[Sequence[Row]]],
    cursor: Callable[[Row], PageCursor],
    page_tokens: PageTokenCodec,
) -> tuple[Sequence[Row], Mapping[str, object], Mapping[str, str]]:
    """Return the requested page, its `pagination` member, and the header that links to the next page.

    `find_page` returns one row more than the page has if there is a next page; `cursor` gives a row's position.
    """
    scope = _token_scope(query)
    token = paging.page_token_from_query(request.query)
    if token is not None:
        query = replace(query, after=PageCursor(*page_tokens.decode(scope, token, parts=2)))
    found = await find_page(query)
    page = found[: query.rows]
    next_token = page_tokens.encode(scope, cursor(page[-1])) if len(found) > query.rows else None
    return (
        page,
        paging.pagination(parse_rows(request.query), len(page), next_token),
        paging.next_link(request, next_token),
    )


def parse_rows(params: Params) -> int:
    """Return the requested number of rows."""
    return paging.rows_from_query(params, default=DEFAULT_ROWS, maximum=MAX_ROWS)


def parse_page_rows(params: Params) -> int:
    """Return the number of rows of a page: those beyond its maximum are on the next pages."""
    return min(parse_rows(params), MAX_PAGE_ROWS)


def parse_id_filter(params: Params, name: str) -> str | None:
    """Return the id that rows must have."""
    text = params.get(name)
    return None if text is None else parse_id(text)


def parse_date(params: Params, name: str) -> str | None:
    """Return a date such as `2026-01-31`."""
    text = params.get(name)
    if text is not None and parse_day(text) is None:
        raise Problem(400, "INVALID_DATE", f"{name} is a date such as 2026-01-31")
    return text


def _token_scope(query: Struct) -> paging.TokenScope:
    """Return the scope of page tokens: this list, with any number of rows."""
    return [type(query).__name__, *(value for name, value in asdict(query).items() if name not in ("rows", "after"))]
