"""Authenticates and authorizes requests, and limits their rate."""

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from services.chassis.http.rate_limit import rate_limited
from services.chassis.http.shared_rate_limit import SharedRateLimit
from services.chassis.runtime.errors import StartingError
from services.chassis.security.authentication import Caller, RequestAuthenticator, require_scope
from services.webhooks import metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Authenticator:
    """Authenticates callers; all requests of a client share one rate limit."""

    requests: RequestAuthenticator
    is_started: Callable[[], bool]
    rate_limit: SharedRateLimit
    requests_per_second: int

    async def authenticate(self, request: web.Request, scope: str) -> Caller:
        """Return the caller; raises a 401, a 403, a 429, or `UnavailableError` (also while starting)."""
        caller = await self.requests.caller(request)
        require_scope(caller.token, scope)
        if not self.is_started():
            raise StartingError("the service")
        limit = self.requests_per_second
        decision = await self.rate_limit.acquire(f"webhooks:{caller.token.client_id}", limit=limit)
        if not decision.allowed:
            metrics.RATE_LIMITED.inc()
            raise rate_limited(decision, f"a client may send {limit} requests in any second")
        return caller

    async def is_still_authorized(self, request: web.Request, scope: str) -> bool:
        """Whether the request would be accepted now: a stream may outlive its token."""
        try:
            caller = await self.requests.caller(request)
            require_scope(caller.token, scope)
        except Exception:  # noqa: BLE001 - whatever the reason, the stream ends and the client is told when it returns
            return False
        return True
