"""Authenticates requests: the bearer token, and the API key in the path."""

from collections.abc import Callable

from aiohttp import web
from msgspec import Struct

from services.chassis.http.recent_clients import RecentClients
from services.chassis.runtime.errors import ForbiddenError, UnavailableError
from services.chassis.security.sites import Sites
from services.chassis.security.tokens import Token, TokenVerifier, bearer_token
from services.values.sites import Site


class Caller(Struct, frozen=True, gc=False):
    """An authenticated caller, and the site whose API key is in the path."""

    token: Token
    site: Site
    api_key: str


class RequestAuthenticator:
    """Verifies the token of a request, and that its API key belongs to the token and to the token's site.

    With `must_refuse`, no token is accepted while it returns True. `recent_clients` knows whose tokens were verified.
    """

    def __init__(self, verifier: TokenVerifier, sites: Sites, *, must_refuse: Callable[[], bool] | None = None) -> None:
        self._verifier = verifier
        self._sites = sites
        self._must_refuse = must_refuse
        self.recent_clients = RecentClients()

    async def token(self, request: web.Request) -> Token:
        """Return the verified token; raises `UnauthorizedError`, or `UnavailableError` while it cannot be verified."""
        text = bearer_token(request.headers.get("Authorization"))
        if self._must_refuse is not None and self._must_refuse():
            raise UnavailableError("Kafka")
        token = self._verifier.cached(text) or await self._verifier.verify(text)
        self.recent_clients.record(token.client_id)
        return token

    async def caller(self, request: web.Request) -> Caller:
        """Return the caller; raises as `token` and `match_api_key` do."""
        return self.match_api_key(request, await self.token(request))

    def cached_caller(self, authorization: str | None, api_key: str) -> Caller | None:
        """Return the caller of a token that was verified before; None proves nothing: `caller` then decides."""
        if (
            authorization is None
            or not authorization.startswith("Bearer ")
            or (self._must_refuse and self._must_refuse())
        ):
            return None
        token = self._verifier.cached(authorization[7:])
        return None if token is None else self._match(api_key, token)

    def match_api_key(self, request: web.Request, token: Token) -> Caller:
        """Check the path's `apiKey`; raises `ForbiddenError` unless it belongs to the token and to its site."""
        caller = self._match(request.match_info["apiKey"], token)
        if caller is None:
            raise ForbiddenError("the token is not for this apiKey")
        return caller

    def _match(self, api_key: str, token: Token) -> Caller | None:
        site = self._sites.by_api_key(api_key)
        if api_key not in token.api_keys or site is None or site.site != token.site:
            return None
        return Caller(token, site, api_key)


def require_scope(token: Token, scope: str) -> None:
    """Raise `ForbiddenError` unless the token has the scope."""
    if scope not in token.scopes:
        raise ForbiddenError(f"the token lacks the scope {scope}")
