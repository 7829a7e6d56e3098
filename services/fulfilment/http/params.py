"""Query parameters of lists, and their pages. Invalid parameters raise a 400."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
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
    MAX_PAGE_BYTES,
    MAX_PAGE_ROWS,
    MAX_ROWS,
    InvoiceQuery,
    PageCursor,
    TransactionQuery,
)

Params = MultiMapping[str]
ListQuery = TypeVar("ListQuery", TransactionQuery, InvoiceQuery)
# Rendering a row of this size takes a fraction of a millisecond.
MANY_BYTES = 4_096


async def paginate(
    request: web.Request,
    query: ListQuery,
    find_page: Callable[[ListQuery], Awaitable[Sequence[Any]]],
    render: Callable[[Any], Mapping[str, Any]],
    page_tokens: PageTokenCodec,
) -> tuple[Sequence[msgspec.Raw], Mapping[str, object], Mapping[str, str]]:
    """Return the rows of the requested page as JSON, its `pagination` member, and the header that links to the next.

    `find_page` returns one row more than it is asked for if there are more. Rows are read and rendered in portions, so
    that one client's page neither needs much memory nor holds up other requests.
    """
    scope = _token_scope(query)
    token = paging.page_token_from_query(request.query)
    after = query.after if token is None else PageCursor(*page_tokens.decode(scope, token, parts=2))
    page: list[msgspec.Raw] = []
    size, has_more = 0, True
    while has_more and len(page) < query.rows and size < MAX_PAGE_BYTES:
        rows = min(query.rows - len(page), query.max_rows_at_once)
        found = await find_page(replace(query, rows=rows, after=after))
        has_more = len(found) > rows
        for number, row in enumerate(found[:rows], start=1):
            page.append(msgspec.Raw(msgspec.json.encode(render(row))))
            after = query.cursor(row)
            size += len(page[-1])
            if size >= MAX_PAGE_BYTES:
                has_more = number < len(found)
                break
            if len(page[-1]) > MANY_BYTES:
                await asyncio.sleep(0)
    next_token = page_tokens.encode(scope, after) if has_more and after is not None else None
    pagination = paging.pagination(parse_rows(request.query), len(page), next_token)
    return page, pagination, paging.next_link(request, next_token)


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
