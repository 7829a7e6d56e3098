"""HTTP handlers for placing orders, following them and getting their codes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from aiohttp import web
from msgspec.structs import replace

from services.chassis.http.idempotency import REPLAYED, IdempotencyKeys, Reservation, StoredResponse, idempotency_key
from services.chassis.http.openapi import openapi_route
from services.chassis.http.page_limits import PageLimits
from services.chassis.http.paging import PageTokenCodec
from services.chassis.http.responses import json_response, traceparent_from
from services.chassis.http.time_range import parse_from_us, parse_to_us
from services.chassis.runtime.errors import Problem
from services.chassis.security.audit import AuditLog
from services.fulfilment import metrics
from services.fulfilment.domain.ids import parse_id
from services.fulfilment.domain.listing import TransactionQuery
from services.fulfilment.domain.order_request import InvalidRequestError, parse_order_request
from services.fulfilment.domain.transaction import Transaction
from services.fulfilment.flows import get_codes, place_order
from services.fulfilment.flows.place_order import ConflictingOrderError, Order, UnacknowledgedError
from services.fulfilment.http import params, responses
from services.fulfilment.http.authentication import Authenticator, Caller
from services.fulfilment.http.body import parse_object, read_body, unprocessable
from services.fulfilment.ports import TransactionReader

BASE = "/fulfilment/v1"
ORDERS = BASE + "/orders"


@dataclass(frozen=True, slots=True)
class ReceivedOrder:
    """The body of a request with its caller, time and trace."""

    caller: Caller
    body: bytes
    at_us: int
    traceparent: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrdersApi:
    """Handlers for transactions and their codes."""

    authenticator: Authenticator
    place_order_deps: place_order.Deps
    get_codes_deps: get_codes.Deps
    transactions: TransactionReader
    idempotency: IdempotencyKeys
    page_tokens: PageTokenCodec
    audit: AuditLog
    new_id: Callable[[], str]
    body_timeout_s: float
    openapi: Path
    page_limits: PageLimits

    def routes(self) -> Sequence[web.RouteDef]:
        """Return the routes of the handlers."""
        return [
            openapi_route("/fulfilment/openapi.yaml", self.openapi),
            web.post(ORDERS, self.create),
            web.get(ORDERS, self.list),
            web.get(ORDERS + "/{transactionId}", self.get),
            web.get(ORDERS + "/{transactionId}/codes", self.get_codes),
        ]

    async def create(self, request: web.Request) -> web.Response:
        """Place an order of codes."""
        received_us = self.place_order_deps.now_us()
        caller = await self.authenticator.authenticate(request, "orders:create")
        key = idempotency_key(request.headers)
        await self.authenticator.check_order_limit(caller)
        body = await read_body(request, timeout_s=self.body_timeout_s)
        received = ReceivedOrder(caller, body, received_us, traceparent_from(request.headers))
        if key is None:
            await self.authenticator.charge_order(caller)
            return _to_response(await self._place(received, self.new_id()))
        reserved = await self.idempotency.reserve(caller.client_id, key, body, self.new_id)
        if isinstance(reserved, StoredResponse):
            return _to_response(replace(reserved, headers={**reserved.headers, **REPLAYED}))
        return _to_response(await self._place_once(received, reserved))

    async def _place_once(self, received: ReceivedOrder, reservation: Reservation) -> StoredResponse:
        """Place the order under its idempotency key, which stores the response unless it is an error."""
        try:
            await self.authenticator.charge_order(received.caller)
            response = await self._place(received, reservation.resource_id, is_retry=reservation.is_retry)
        except Problem as problem:
            if problem.status >= 500:
                await self.idempotency.release_for_retry(reservation)
            else:
                await self.idempotency.discard(reservation)
            raise
        await self.idempotency.complete(reservation, response)
        return response

    async def _place(self, received: ReceivedOrder, transaction_id: str, *, is_retry: bool = False) -> StoredResponse:
        caller = received.caller
        try:
            order = Order(
                transaction_id=transaction_id,
                site=caller.site,
                client_id=caller.client_id,
                customer=caller.customer,
                request=parse_order_request(parse_object(received.body)),
                received_us=received.at_us,
                is_retry=is_retry,
                traceparent=received.traceparent,
            )
            placed = await place_order.place_order(order, self.place_order_deps)
        except InvalidRequestError as error:
            metrics.PLACED.labels("refused").inc()
            raise unprocessable(error) from None
        except ConflictingOrderError:
            detail = "this clientOrderNumber was used for a different order"
            raise Problem(409, "DUPLICATE_CLIENT_ORDER", detail) from None
        except UnacknowledgedError as error:
            raise _unacknowledged(error) from error
        return _to_stored_response(placed.transaction, is_duplicate=placed.is_duplicate)

    async def get(self, request: web.Request) -> web.Response:
        """Return a transaction with its counts."""
        caller = await self.authenticator.authenticate_reader(request, "orders:read")
        transaction = await self.transactions.find_for_site(caller.site, parse_id(request.match_info["transactionId"]))
        if transaction is None:
            raise _transaction_not_found()
        return json_response(responses.transaction_status(transaction), headers=responses.PRIVATE)

    async def list(self, request: web.Request) -> web.Response:
        """Return the customer's transactions, newest first."""
        caller = await self.authenticator.authenticate_reader(request, "orders:read")
        query = TransactionQuery(
            site=caller.site,
            rows=params.parse_page_rows(request.query),
            client_order_number=request.query.get("clientOrderNumber"),
            transaction_id=params.parse_id_filter(request.query, "transactionId"),
            from_us=parse_from_us(request.query, caller.customer.time_zone),
            to_us=parse_to_us(request.query, caller.customer.time_zone),
        )
        async with self.page_limits.rendering(caller.client_id) as rendering:
            page, pagination, links = await params.paginate(
                request, query, self.transactions.find_page, responses.transaction_status, self.page_tokens
            )
            rendering.set_size(sum(map(len, page)))
        return self.page_limits.json_response(
            caller.client_id, {"pagination": pagination, "result": page}, headers={**responses.PRIVATE, **links}
        )

    async def get_codes(self, request: web.Request) -> web.Response:
        """Return the delivered codes, and placeholders for the others."""
        caller = await self.authenticator.authenticate_reader(request, "codes:read")
        transaction_id, sku = parse_id(request.match_info["transactionId"]), request.query.get("sku")
        transaction = await get_codes.find_transaction(caller.site, transaction_id, self.get_codes_deps)
        if transaction is None:
            raise _transaction_not_found()
        is_large = get_codes.is_large(transaction, sku)
        async with self.page_limits.rendering(caller.client_id, is_large=is_large):
            found = await get_codes.read_codes(transaction, sku, self.get_codes_deps)
            body = msgspec.json.encode(responses.codes(found, self.place_order_deps.now_us()))
        if found.disclosed_count:
            metrics.DISCLOSED.inc(found.disclosed_count)
            self.audit.record(
                "codes-disclosed",
                actor=caller.client_id,
                source=request.remote or "unknown",
                site=caller.site,
                transactionId=transaction_id,
                codes=found.disclosed_count,
            )
        return self.page_limits.response(
            caller.client_id,
            body,
            headers={"Cache-Control": "no-store"},
            content_type="application/json",
            charset="utf-8",
        )


def _transaction_not_found() -> Problem:
    """Return the 404 for an unknown transaction, and for another customer's: they cannot be distinguished."""
    return Problem(404, "TRANSACTION_NOT_FOUND", "there is no such transaction")


def _to_stored_response(transaction: Transaction, *, is_duplicate: bool) -> StoredResponse:
    body = responses.accepted_order(transaction) | ({"duplicate": True} if is_duplicate else {})
    headers = {"Location": f"{ORDERS}/{transaction.id}"}
    return StoredResponse(200 if is_duplicate else 202, msgspec.json.encode(body), headers)


def _to_response(stored: StoredResponse) -> web.Response:
    return web.Response(
        status=stored.status,
        body=stored.body,
        headers=dict(stored.headers),
        content_type="application/json",
        charset="utf-8",
    )


def _unacknowledged(error: UnacknowledgedError) -> Problem:
    return Problem(
        503,
        "STORE_UNAVAILABLE",
        "the order could not be confirmed: look for its transactionId, or send it again with its clientOrderNumber",
        headers={"Retry-After": str(error.retry_after_s)},
        extra={"transactionId": error.transaction_id},
    )
