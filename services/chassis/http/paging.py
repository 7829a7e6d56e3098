"""Pages of a list: the query parameters, opaque signed page tokens, and the `Link` header.

A page token holds a position, never a permission: the request still needs an access token.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from aiohttp import web
from itsdangerous import BadData, URLSafeSerializer
from multidict import MultiMapping

from services.chassis.runtime.errors import Problem

PAGE_PARAMETERS = ("page", "pageToken", "nextPageToken")

TokenScope = Sequence[str | int | bool | None]


class PageTokenCodec:
    """Encodes and decodes page tokens. `salt` separates the tokens of different APIs."""

    def __init__(self, secret: str, *, salt: str) -> None:
        self._serializer = URLSafeSerializer(secret, salt=salt, signer_kwargs={"digest_method": hashlib.sha256})

    def encode(self, scope: TokenScope, position: Sequence[Any]) -> str:
        """Return a token for this position, valid in this scope only."""
        token: str | bytes = self._serializer.dumps([list(scope), list(position)])
        return token if isinstance(token, str) else token.decode()

    def decode(self, scope: TokenScope, token: str, *, parts: int) -> list[Any]:
        """Return the position; raises a 400 for a token of another scope or origin."""
        try:
            decoded: Any = self._serializer.loads(token)
        except BadData:
            raise invalid_page_token() from None
        if decoded[0] != list(scope) or len(decoded[1]) != parts:
            raise invalid_page_token()
        position: list[Any] = decoded[1]
        return position


def invalid_page_token() -> Problem:
    """Return the 400 for a token of another list, or an invalid one."""
    return Problem(400, "INVALID_PAGE_TOKEN", "the page token was not issued for this call")


def page_token_from_query(query: MultiMapping[str]) -> str | None:
    """Return the page token, under any of its parameter names."""
    tokens = {query[name] for name in PAGE_PARAMETERS if name in query}
    if len(tokens) > 1:
        raise Problem(400, "INVALID_PAGE_TOKEN", "the request has two different page tokens")
    return tokens.pop() if tokens else None


def rows_from_query(query: MultiMapping[str], *, default: int, maximum: int) -> int:
    """Return the page size."""
    rows = query.get("rows")
    if rows is None:
        return default
    if not (rows.isascii() and rows.isdecimal() and len(rows) <= 6 and 1 <= int(rows) <= maximum):
        raise Problem(400, "INVALID_ROWS", f"rows must be an integer from 1 to {maximum}")
    return int(rows)


def pagination(rows: int, count: int, token: str | None) -> dict[str, Any]:
    """Return the `pagination` object of a page."""
    return {"rows": rows, "count": count, "nextPageToken": token}


def next_link(request: web.Request, token: str | None) -> Mapping[str, str]:
    """Return the `Link` header to the next page, if there is one."""
    if token is None:
        return {}
    parameters = [(name, value) for name, value in request.query.items() if name not in PAGE_PARAMETERS]
    return {"Link": f'<{request.rel_url.raw_path}?{urlencode([*parameters, ("page", token)])}>; rel="next"'}
