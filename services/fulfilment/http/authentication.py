"""Authenticates and authorizes requests, and limits their rate."""

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web
from msgspec import Struct

from services.chassis.http.rate_limit import Decision, rate_limited
from services.chassis.http.shared_rate_limit import SharedRateLimit
from services.chassis.runtime.errors import ForbiddenError, StartingError
from services.chassis.security.authentication import RequestAuthenticator, require_scope
from services.chassis.security.tokens import Token
from services.fulfilment import metrics
from services.fulfilment.domain.customer import Customer
from services.fulfilment.ports import Customers


class Caller(Struct, frozen=True):
    """An authenticated client, and its customer."""

    token: Token
    customer: Customer

    @property
    def site(self) -> int:
        """The customer's number."""
        return self.token.site

    @property
    def client_id(self) -> str:
        """The client's id."""
        return self.token.client_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Authenticator:
    """Authenticates callers. All GET requests of a client share one rate limit; its orders have another."""

    requests: RequestAuthenticator
    customers: Customers
    is_started: Callable[[], bool]
    rate_limit: SharedRateLimit
    reads_per_second: int
    orders_per_second: int

    async def authenticate(self, request: web.Request, scope: str) -> Caller:
        """Return the caller; raises a 401, a 403, or `UnavailableError` (also while starting)."""
        token = await self.requests.token(request)
        require_scope(token, scope)
        if not self.is_started():
            raise StartingError("the service")
        customer = self.customers.get(token.site)
        if customer is None:
            raise ForbiddenError("the token's site is not known")
        return Caller(token, customer)

    async def authenticate_reader(self, request: web.Request, scope: str) -> Caller:
        """Authenticate a GET request and count it; raises a 429, too."""
        caller = await self.authenticate(request, scope)
        key, limit = f"fulfilment:read:{caller.client_id}", self.reads_per_second
        _require("reads", "GET requests", await self.rate_limit.acquire(key, limit=limit))
        return caller

    async def check_order_limit(self, caller: Caller) -> None:
        """Raise a 429 if the client may not place an order now."""
        _require("orders", "orders", await self.rate_limit.peek(_order_key(caller), limit=self.orders_per_second))

    async def charge_order(self, caller: Caller) -> None:
        """Count an order; raises a 429."""
        _require("orders", "orders", await self.rate_limit.acquire(_order_key(caller), limit=self.orders_per_second))


def _order_key(caller: Caller) -> str:
    return f"fulfilment:order:{caller.client_id}"


def _require(bucket: str, requests: str, decision: Decision) -> None:
    if not decision.allowed:
        metrics.RATE_LIMITED.labels(bucket).inc()
        detail = f"a client may send {decision.limit} {requests} in any second"
        raise rate_limited(decision, detail, policy=bucket)
