"""The fulfilment API: placing orders, and following them to their codes."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
from aiohttp import web
from msgspec.structs import replace

from services.chassis.http.idempotency import REPLAYED, IdempotencyKeys, Reservation, StoredResponse, idempotency_key
from services.chassis.http.openapi import openapi_route
from services.chassis.http.paging import PageTokenCodec
from services.chassis.http.server import json_response, traceparent
from services.chassis.runtime.errors import Problem, UnavailableError
from services.fulfilment import metrics
from services.fulfilment.domain.listing import TransactionQuery, transaction_cursor
from services.fulfilment.domain.order_request import InvalidRequestError, parse_order_request
from services.fulfilment.domain.transaction import Transaction
from services.fulfilment.flows import get_codes
from services.fulfilment.flows.place_order import ConflictingOrderError, Deps, Order, UnacknowledgedError, place_order
from services.fulfilment.http import params, responses
from services.fulfilment.http.authentication import Authenticator, Caller
from services.fulfilment.http.body import parse_object, read_body, unprocessable
from services.fulfilment.http.lists import paginate
from services.fulfilment.ports import AuditLog, ListedTransactions

BASE = "/fulfilment/v1"
ORDERS = BASE + "/orders"


@dataclass(frozen=True, slots=True)
class Received:
    """What came, from whom, when, and as a part of which trace."""

    caller: Caller
    body: bytes
    at_us: int
    traceparent: str | None


class OrdersApi:
    """Handlers about transactions; `routes` binds them to their addresses."""

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        place_order_deps: Deps,
        get_codes_deps: get_codes.Deps,
        transactions: ListedTransactions,
        idempotency: IdempotencyKeys,
        page_tokens: PageTokenCodec,
        audit: AuditLog,
        new_id: Callable[[], str],
        body_timeout_s: float,
        openapi: Path,
    ) -> None:
        self._desk = authenticator
        self._placing = place_order_deps
        self._showing = get_codes_deps
        self._lists = transactions
        self._idempotency = idempotency
        self._places = page_tokens
        self._audit = audit
        self._new_id = new_id
        self._body_timeout_s = body_timeout_s
        self._openapi = openapi

    def routes(self) -> Sequence[web.RouteDef]:
        """Every address about transactions."""
        return [
            openapi_route("/fulfilment/openapi.yaml", self._openapi),
            web.post(ORDERS, self.create),
            web.get(ORDERS, self.list),
            web.get(ORDERS + "/{transactionId}", self.show),
            web.get(ORDERS + "/{transactionId}/codes", self.codes),
        ]

    async def create(self, request: web.Request) -> web.Response:
        """Place an order of codes."""
        received_us = self._placing.now_us()
        caller = await self._desk.authenticate(request, "orders:create")
        key = idempotency_key(request.headers)
        self._desk.check_order_limit(caller)
        body = await read_body(request, timeout_s=self._body_timeout_s)
        received = Received(caller, body, received_us, traceparent(request))
        if key is None:
            self._desk.charge_order(caller)
            return _answer(await self._placed(received, self._new_id()))
        turn = await self._idempotency.reserve(caller.client_id, key, body, self._new_id)
        if isinstance(turn, StoredResponse):
            return _answer(replace(turn, headers={**turn.headers, **REPLAYED}))
        return _answer(await self._once(received, turn))

    async def _once(self, received: Received, turn: Reservation) -> StoredResponse:
        """Place the order under its idempotency key: the answer is kept, a refusal is not."""
        try:
            self._desk.charge_order(received.caller)
            reply = await self._placed(received, turn.resource_id, is_retry=turn.is_retry)
        except Problem as problem:
            with suppress(UnavailableError):
                # What became of the order is to be told all the same; the key's lease ends by itself.
                await (
                    self._idempotency.release_for_retry(turn)
                    if problem.status >= 500
                    else self._idempotency.discard(turn)
                )
            raise
        with suppress(UnavailableError):
            # The order is durable, and a retry will find it by its id: that is what counts.
            await self._idempotency.complete(turn, reply)
        return reply

    async def _placed(self, received: Received, transaction_id: str, *, is_retry: bool = False) -> StoredResponse:
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
            placed = await place_order(order, self._placing)
        except InvalidRequestError as refused:
            metrics.PLACED.labels("refused").inc()
            raise unprocessable(refused.faults) from None
        except ConflictingOrderError:
            detail = "this clientOrderNumber stands for another order already"
            raise Problem(409, "DUPLICATE_CLIENT_ORDER", detail) from None
        except UnacknowledgedError as unknown:
            raise _unknown(unknown) from unknown
        return _reply(placed.transaction, is_duplicate=placed.is_duplicate)

    async def show(self, request: web.Request) -> web.Response:
        """A transaction and how far it has come."""
        caller = await self._desk.authenticate_reader(request, "orders:read")
        found = await self._showing.transactions.find_for_site(caller.site, request.match_info["transactionId"])
        if found is None:
            raise no_such_transaction()
        return json_response(responses.transaction_status(found), headers=responses.PRIVATE)

    async def list(self, request: web.Request) -> web.Response:
        """The customer's transactions, newest first."""
        caller = await self._desk.authenticate_reader(request, "orders:read")
        asked = TransactionQuery(
            site=caller.site,
            rows=params.page_rows_from_query(request.query),
            client_order_number=request.query.get("clientOrderNumber"),
            transaction_id=request.query.get("transactionId"),
            from_us=params.from_instant(request.query, caller.customer.time_zone),
            to_us=params.to_instant(request.query, caller.customer.time_zone),
        )
        found, page, links = await paginate(
            request, asked, listed=self._lists.find_page, place=transaction_cursor, places=self._places
        )
        body = {"pagination": page, "result": [responses.transaction_status(one) for one in found]}
        return json_response(body, headers={**responses.PRIVATE, **links})

    async def codes(self, request: web.Request) -> web.Response:
        """The codes that there are, and placeholders for the others."""
        caller = await self._desk.authenticate_reader(request, "codes:read")
        transaction_id = request.match_info["transactionId"]
        found = await get_codes.get_codes(caller.site, transaction_id, request.query.get("sku"), self._showing)
        if found is None:
            raise no_such_transaction()
        if found.disclosed_count:
            metrics.DISCLOSED.inc(found.disclosed_count)
            self._audit.record(
                "codes-disclosed",
                actor=caller.client_id,
                source=request.remote or "unknown",
                site=caller.site,
                transactionId=transaction_id,
                codes=found.disclosed_count,
            )
        return json_response(responses.codes(found, self._placing.now_us()), headers={"Cache-Control": "no-store"})


def no_such_transaction() -> Problem:
    """Unknown, or another customer's: nobody can tell which."""
    return Problem(404, "TRANSACTION_NOT_FOUND", "there is no such transaction")


def _reply(transaction: Transaction, *, is_duplicate: bool) -> StoredResponse:
    body = responses.accepted_order(transaction) | ({"duplicate": True} if is_duplicate else {})
    headers = {"Location": f"{ORDERS}/{transaction.id}"}
    return StoredResponse(200 if is_duplicate else 202, msgspec.json.encode(body), headers)


def _answer(reply: StoredResponse) -> web.Response:
    return web.Response(
        status=reply.status,
        body=reply.body,
        headers=dict(reply.headers),
        content_type="application/json",
        charset="utf-8",
    )


def _unknown(unknown: UnacknowledgedError) -> Problem:
    return Problem(
        503,
        "STORE_UNAVAILABLE",
        "the order could not be confirmed: look for its transactionId, or send it again with its clientOrderNumber",
        headers={"Retry-After": str(unknown.retry_after_s)},
        extra={"transactionId": unknown.transaction_id},
    )
