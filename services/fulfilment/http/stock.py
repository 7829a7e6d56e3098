"""HTTP handlers for products and stock."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from aiohttp import web

from services.chassis.http.responses import json_response
from services.chassis.runtime.errors import Problem
from services.chassis.runtime.logs import escape_for_log
from services.chassis.security.audit import AuditLog
from services.fulfilment.domain.order_request import InvalidRequestError
from services.fulfilment.domain.stock_request import parse_codes, parse_product
from services.fulfilment.flows.load_stock import Deps, load_codes
from services.fulfilment.http import responses
from services.fulfilment.http.authentication import Authenticator
from services.fulfilment.http.body import parse_object, read_body, unprocessable

BASE = "/fulfilment/v1"
SCOPE = "stock:write"


@dataclass(frozen=True, slots=True, kw_only=True)
class StockApi:
    """Handlers for products and stock."""

    authenticator: Authenticator
    deps: Deps
    audit: AuditLog
    currencies: frozenset[str]
    suppliers: AbstractSet[str]
    body_timeout_s: float

    def routes(self) -> Sequence[web.RouteDef]:
        """Return the routes of the handlers."""
        return [
            web.post(BASE + "/stock/{sku}/codes", self.load_codes),
            web.put(BASE + "/products/{sku}", self.put_product),
        ]

    async def load_codes(self, request: web.Request) -> web.Response:
        """Make codes of a product available."""
        caller = await self.authenticator.authenticate(request, SCOPE)
        sku = request.match_info["sku"]
        body = parse_object(await read_body(request, timeout_s=self.body_timeout_s))
        try:
            codes = parse_codes(body.get("codes"))
        except InvalidRequestError as error:
            raise unprocessable(error) from None
        batch = await load_codes(sku, codes, self.deps)
        if batch is None:
            raise Problem(404, "UNKNOWN_SKU", "there is no such product")
        self.audit.record(
            "codes-loaded",
            actor=caller.client_id,
            source=request.remote or "unknown",
            batch=batch.id,
            codes=len(codes),
            added=batch.added,
        )
        known = len(codes) - batch.added
        return json_response(
            {"sku": sku, "received": len(codes), "added": batch.added, "known": known, "batchId": batch.id}
        )

    async def put_product(self, request: web.Request) -> web.Response:
        """Add or replace a product."""
        caller = await self.authenticator.authenticate(request, SCOPE)
        body = parse_object(await read_body(request, timeout_s=self.body_timeout_s))
        try:
            product = parse_product(request.match_info["sku"], body, self.currencies, self.suppliers)
        except InvalidRequestError as error:
            raise unprocessable(error) from None
        is_new = await self.deps.products.put(product)
        source = request.remote or "unknown"
        self.audit.record("product-put", actor=caller.client_id, source=source, sku=escape_for_log(product.sku))
        return json_response(responses.product(product), status=201 if is_new else 200)
