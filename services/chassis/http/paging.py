"""Page tokens: opaque and signed, good for one purpose only, and how pages are spoken of.

They hold positions, never rights: whoever shows one still needs a token of their own.
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
    """Makes and reads tokens that hold a place in a list. `salt` keeps the tokens of different APIs apart."""

    def __init__(self, secret: str, *, salt: str) -> None:
        self._serializer = URLSafeSerializer(secret, salt=salt, signer_kwargs={"digest_method": hashlib.sha256})

    def encode(self, scope: TokenScope, position: Sequence[Any]) -> str:
        """A token for this place, good for what it is bound to."""
        made: str | bytes = self._serializer.dumps([list(scope), list(position)])
        return made if isinstance(made, str) else made.decode()

    def decode(self, scope: TokenScope, token: str, *, parts: int) -> list[Any]:
        """The place; raises a 400 on what was not made here for the same purpose."""
        try:
            read: Any = self._serializer.loads(token)
        except BadData:
            raise invalid_page_token() from None
        if read[0] != list(scope) or len(read[1]) != parts:
            raise invalid_page_token()
        where: list[Any] = read[1]
        return where


def invalid_page_token() -> Problem:
    """400: a token of another call, or none at all."""
    return Problem(400, "INVALID_PAGE_TOKEN", "the page token was not issued for this call")


def page_token_from_query(query: MultiMapping[str]) -> str | None:
    """The page token of a request, by whichever of its names."""
    given = {query[name] for name in PAGE_PARAMETERS if name in query}
    if len(given) > 1:
        raise Problem(400, "INVALID_PAGE_TOKEN", "the page token was sent twice, and not the same")
    return given.pop() if given else None


def rows_from_query(query: MultiMapping[str], *, default: int, maximum: int) -> int:
    """How many rows a page may have."""
    given = query.get("rows")
    if given is None:
        return default
    if not (given.isascii() and given.isdecimal() and len(given) <= 6 and 1 <= int(given) <= maximum):
        raise Problem(400, "INVALID_ROWS", f"rows is a whole number from 1 to {maximum}")
    return int(given)


def pagination(rows: int, count: int, token: str | None) -> dict[str, Any]:
    """The `pagination` object of a page."""
    return {"rows": rows, "count": count, "nextPageToken": token}


def next_link(request: web.Request, token: str | None) -> Mapping[str, str]:
    """Where the next page is, as a header."""
    if token is None:
        return {}
    kept = [(name, value) for name, value in request.query.items() if name not in PAGE_PARAMETERS]
    return {"Link": f'<{request.rel_url.raw_path}?{urlencode([*kept, ("page", token)])}>; rel="next"'}
