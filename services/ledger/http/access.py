"""Who may call the API, and how often."""

from dataclasses import dataclass

from aiohttp import web

from services.chassis.http.rate_limit import rate_limited
from services.chassis.http.shared_rate_limit import SharedRateLimit
from services.chassis.security.authentication import Caller, RequestAuthenticator, require_scope
from services.ledger import metrics

BASE = "/ledger/v1/{apiKey}"
PRIVATE = {"Cache-Control": "private, no-cache"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Decides who may call, and how often."""

    authenticator: RequestAuthenticator
    rate_limit: SharedRateLimit
    requests_per_second: int

    async def authorize(self, request: web.Request, scope: str) -> Caller:
        """Return the caller; raises 401, 403 and 429."""
        caller = await self.authenticator.caller(request)
        require_scope(caller.token, scope)
        limit = self.requests_per_second
        decision = await self.rate_limit.acquire(f"ledger:{caller.token.client_id}", limit=limit)
        if not decision.allowed:
            metrics.RATE_LIMITED.inc()
            raise rate_limited(decision, f"a client may send {limit} ledger requests in any second")
        return caller
