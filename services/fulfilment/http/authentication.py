"""Who asks, and whether they may: token, scope, rate."""

from collections.abc import Mapping

from aiohttp import web
from msgspec import Struct

from services.chassis.http.ratelimit import Decision, RateLimit
from services.chassis.runtime.errors import ForbiddenError, Problem
from services.chassis.security.tokens import Token, TokenVerifier, bearer_token
from services.fulfilment import metrics
from services.fulfilment.domain.customer import Customer
from services.fulfilment.ports import Customers


class Caller(Struct, frozen=True):
    """A client, and the customer it belongs to."""

    token: Token
    customer: Customer

    @property
    def site(self) -> int:
        """The customer's number."""
        return self.token.site

    @property
    def client_id(self) -> str:
        """The client."""
        return self.token.client_id


class Authenticator:
    """Lets callers in. All GET requests of a client share one moving window; orders have one of their own."""

    def __init__(
        self,
        *,
        verifier: TokenVerifier,
        customers: Customers,
        rate_limit: RateLimit,
        reads_per_second: int,
        orders_per_second: int,
    ) -> None:
        self._verifier = verifier
        self._customers = customers
        self._gate = rate_limit
        self._reads_per_second = reads_per_second
        self._orders_per_second = orders_per_second

    async def authenticate_reader(self, request: web.Request, scope: str) -> Caller:
        """Who wants to read; raises `Problem`."""
        caller = await self.authenticate(request, scope)
        limit = self._reads_per_second
        decision = self._gate.acquire(f"read:{caller.client_id}", limit=limit)
        if not decision.allowed:
            raise _throttled("reads", decision, f"a client may send {limit} GET requests in any second")
        return caller

    def charge_order(self, caller: Caller, *, cost: int) -> None:
        """Count an order against the client's limit; a cost of 0 only asks. Raises a 429."""
        limit = self._orders_per_second
        decision = self._gate.acquire(f"order:{caller.client_id}", limit=limit, cost=cost)
        if not decision.allowed:
            raise _throttled("orders", decision, f"a client may send {limit} orders in any second")

    async def authenticate(self, request: web.Request, scope: str) -> Caller:
        """Who asks, if the token has the scope; raises `Problem`."""
        given = bearer_token(request.headers.get("Authorization"))
        token = self._verifier.cached(given) or await self._verifier.verify(given)
        if scope not in token.scopes:
            raise ForbiddenError(f"the token lacks the scope {scope}")
        customer = self._customers.get(token.site)
        if customer is None:
            raise ForbiddenError("the token's site is not known")
        return Caller(token, customer)


def _throttled(bucket: str, refusal: Decision, detail: str) -> Problem:
    metrics.RATE_LIMITED.labels(bucket).inc()
    return Problem(
        429, "RATE_LIMITED", detail, headers={"Retry-After": str(refusal.retry_after_s), **_quota(bucket, refusal)}
    )


def _quota(bucket: str, left: Decision) -> Mapping[str, str]:
    return {
        "RateLimit-Policy": f'"{bucket}";q={left.limit};w=1',
        "RateLimit": f'"{bucket}";r={left.remaining};t={left.reset_s}',
    }
