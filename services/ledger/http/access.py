"""Who may call the API, and how often."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from aiohttp import web

from services.chassis.http.rate_limit import rate_limited
from services.chassis.http.shared_rate_limit import SharedRateLimit
from services.chassis.runtime.errors import ContentionError, Problem, StartingError
from services.chassis.security.authentication import Caller, RequestAuthenticator, require_scope
from services.ledger import metrics

BASE = "/ledger/v1/{apiKey}"
PRIVATE = {"Cache-Control": "private, no-cache"}


# Exports, and reports that are computed from entries, which take long.
MAX_SCANS, MAX_SCANS_PER_CLIENT = 8, 2


class Scans:
    """Bounds the requests that read all entries of a site, in total and for each client."""

    def __init__(self) -> None:
        self._active: Counter[str] = Counter()

    @contextmanager
    def begin(self, client_id: str) -> Iterator[None]:
        """Count a request during the block; raises a 429 beyond the client's limit, `ContentionError` beyond all's."""
        if self._active[client_id] >= MAX_SCANS_PER_CLIENT:
            metrics.RATE_LIMITED.inc()
            detail = f"a client may have {MAX_SCANS_PER_CLIENT} exports or reports in another zone at a time"
            raise Problem(429, "RATE_LIMITED", detail, headers={"Retry-After": "5"})
        if self._active.total() >= MAX_SCANS:
            raise ContentionError("the ledger API")
        self._active[client_id] += 1
        try:
            yield
        finally:
            self._active[client_id] -= 1
            if not self._active[client_id]:
                del self._active[client_id]


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Decides who may call, and how often."""

    authenticator: RequestAuthenticator
    is_started: Callable[[], bool]
    rate_limit: SharedRateLimit
    requests_per_second: int

    async def authorize(self, request: web.Request, scope: str) -> Caller:
        """Return the caller; raises a 401, a 403, a 429, or `UnavailableError` (also while starting)."""
        caller = await self.authenticator.caller(request)
        require_scope(caller.token, scope)
        if not self.is_started():
            raise StartingError("the service")
        limit = self.requests_per_second
        decision = await self.rate_limit.acquire(f"ledger:{caller.token.client_id}", limit=limit)
        if not decision.allowed:
            metrics.RATE_LIMITED.inc()
            raise rate_limited(decision, f"a client may send {limit} ledger requests in any second")
        return caller
