"""Who asks, and whether they may: token, scope, rate."""

from aiohttp import web
from msgspec import Struct

from services.chassis.http.ratelimit import Decision, RateLimit, rate_limited
from services.chassis.runtime.errors import ForbiddenError, Problem
from services.chassis.security.authentication import RequestAuthenticator, require_scope
from services.chassis.security.tokens import Token
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
        requests: RequestAuthenticator,
        customers: Customers,
        rate_limit: RateLimit,
        reads_per_second: int,
        orders_per_second: int,
    ) -> None:
        self._requests = requests
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
            raise _rate_limited("reads", decision, f"a client may send {limit} GET requests in any second")
        return caller

    def check_order_limit(self, caller: Caller) -> None:
        """Raise a 429 if the client may not place an order now."""
        self._allow_order(self._gate.peek(f"order:{caller.client_id}", limit=self._orders_per_second))

    def charge_order(self, caller: Caller) -> None:
        """Count an order against the client's limit; raises a 429."""
        self._allow_order(self._gate.acquire(f"order:{caller.client_id}", limit=self._orders_per_second))

    @staticmethod
    def _allow_order(decision: Decision) -> None:
        if not decision.allowed:
            raise _rate_limited("orders", decision, f"a client may send {decision.limit} orders in any second")

    async def authenticate(self, request: web.Request, scope: str) -> Caller:
        """Who asks, if the token has the scope; raises `Problem`."""
        token = await self._requests.token(request)
        require_scope(token, scope)
        customer = self._customers.get(token.site)
        if customer is None:
            raise ForbiddenError("the token's site is not known")
        return Caller(token, customer)


def _rate_limited(policy: str, decision: Decision, detail: str) -> Problem:
    metrics.RATE_LIMITED.labels(policy).inc()
    return rate_limited(decision, detail, policy=policy)
