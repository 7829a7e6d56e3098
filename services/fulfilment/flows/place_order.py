"""Places an order: from a request to a durable transaction on the day's purchase order."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

from msgspec import Struct

from services.chassis.runtime.errors import ContentionError, UnavailableError
from services.chassis.runtime.failpoints import failpoint
from services.fulfilment import metrics
from services.fulfilment.domain.business_day import business_date, next_day
from services.fulfilment.domain.customer import Customer
from services.fulfilment.domain.order_request import OrderRequest, PricedOrder, is_same_order, price_order
from services.fulfilment.domain.purchase_order import PurchaseOrder
from services.fulfilment.domain.transaction import Transaction
from services.fulfilment.ports import InsertResult, ProductStore, PurchaseOrderStore, TransactionStore

# A failed attempt means that a concurrent one succeeded.
MAX_ATTEMPTS = 50
# The event of the new transaction starts its fulfilment; the sweeper starts it if the event was lost.
FIRST_SWEEP_AFTER_US = 2_000_000

_sequence_reserved = failpoint("fulfilment.sequence_reserved")
_stored = failpoint("fulfilment.stored")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Dependencies of this flow."""

    products: ProductStore
    purchase_orders: PurchaseOrderStore
    transactions: TransactionStore
    now_us: Callable[[], int]
    deadline: timedelta


class Order(Struct, frozen=True, kw_only=True):
    """A request, its sender, and the id of the transaction to create. A retry has the same id."""

    transaction_id: str
    site: int
    client_id: str
    customer: Customer
    request: OrderRequest
    received_us: int
    is_retry: bool = False
    traceparent: str | None = None


class PlacedOrder(Struct, frozen=True):
    """The transaction; `is_duplicate` if it existed under the customer's order number."""

    transaction: Transaction
    is_duplicate: bool = False


class ConflictingOrderError(Exception):
    """The customer has used the order number for a different order."""


class UnacknowledgedError(UnavailableError):
    """The store did not acknowledge: the transaction is stored completely or not at all."""

    def __init__(self, error: UnavailableError, transaction_id: str) -> None:
        super().__init__(error.dependency, retry_after_s=error.retry_after_s)
        self.transaction_id = transaction_id


async def place_order(order: Order, deps: Deps) -> PlacedOrder:
    """Look for the same order, price it, reserve its sequence number, store it with its event.

    Returns once that is durable. Raises `InvalidRequestError` or `ConflictingOrderError`, and nothing is stored; or
    `UnacknowledgedError`, and placing it again under the same id is safe.
    """
    try:
        for _ in range(MAX_ATTEMPTS):
            existing = await _find_existing(order, deps)
            if existing is not None:
                return existing
            products = await deps.products.find([item.sku for item in order.request.items])
            stored = await _store(order, price_order(order.request, products), deps)
            if stored is not None:
                metrics.PLACED.labels("accepted").inc()
                return PlacedOrder(stored)
        raise ContentionError("the transaction store")
    except UnavailableError as error:
        raise UnacknowledgedError(error, order.transaction_id) from error


async def _find_existing(order: Order, deps: Deps) -> PlacedOrder | None:
    if order.is_retry:
        own = await deps.transactions.find_for_site(order.site, order.transaction_id)
        if own is not None:
            return PlacedOrder(own)
    number = order.request.client_order_number
    if number is None or not order.request.has_duplicate_check:
        return None
    first = await deps.transactions.find_by_order_number(order.site, number)
    if first is None:
        return None
    if not is_same_order(order.request, first):
        metrics.PLACED.labels("conflict").inc()
        raise ConflictingOrderError
    metrics.PLACED.labels("duplicate").inc()
    return PlacedOrder(first, is_duplicate=True)


async def _store(order: Order, priced: PricedOrder, deps: Deps) -> Transaction | None:
    """Store it on the first purchase order that accepts it; None if an existing order must be looked for again."""
    day = business_date(order.received_us, order.customer.time_zone)
    for _ in range(MAX_ATTEMPTS):
        purchase_order, sequence = await _reserve_sequence(order, day, priced.currency, deps)
        transaction = _build_transaction(order, priced, purchase_order, sequence, deps)
        _sequence_reserved()
        match await deps.transactions.add(transaction):
            case InsertResult.INSERTED:
                _stored()
                return transaction
            case InsertResult.EXISTS:
                return await deps.transactions.find_for_site(order.site, order.transaction_id)
            case InsertResult.NUMBER_TAKEN:
                return None
            case _:  # the day was closed after the sequence number was reserved
                day = next_day(purchase_order.day)
    raise ContentionError("the purchase order store")


async def _reserve_sequence(order: Order, day: date, currency: str, deps: Deps) -> tuple[PurchaseOrder, int]:
    """Reserve a sequence number on the day's purchase order, or on the first later one that is open."""
    for _ in range(MAX_ATTEMPTS):
        purchase_order = PurchaseOrder(site=order.site, business_date=day.isoformat(), currency=currency)
        sequence = await deps.purchase_orders.reserve_sequence(purchase_order)
        if sequence is not None:
            return purchase_order, sequence
        day = next_day(day)
    raise ContentionError("the purchase order store")


def _build_transaction(
    order: Order, priced: PricedOrder, purchase_order: PurchaseOrder, sequence: int, deps: Deps
) -> Transaction:
    return Transaction(
        id=order.transaction_id,
        site=order.site,
        client_id=order.client_id,
        client_order_number=order.request.client_order_number,
        has_duplicate_check=order.request.has_duplicate_check,
        currency=priced.currency,
        lines=priced.lines,
        purchase_order=purchase_order.id,
        sequence=sequence,
        business_date=purchase_order.business_date,
        created_us=order.received_us,
        deadline_us=order.received_us + deps.deadline // timedelta(microseconds=1),
        due_us=deps.now_us() + FIRST_SWEEP_AFTER_US,
        traceparent=order.traceparent,
    )
