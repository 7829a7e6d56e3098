"""From a request for codes to a transaction that nothing can lose."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

from msgspec import Struct

from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.failpoints import failpoint
from services.fulfilment import metrics
from services.fulfilment.domain.business_day import business_date, next_day
from services.fulfilment.domain.customer import Customer
from services.fulfilment.domain.order_request import OrderRequest, is_same_order, price_order
from services.fulfilment.domain.purchase_order import PurchaseOrder
from services.fulfilment.domain.transaction import Transaction, TransactionLine
from services.fulfilment.ports import InsertResult, ProductStore, PurchaseOrderStore, TransactionStore

# Each round that loses means that somebody else won.
MAX_ATTEMPTS = 50
# The event that a transaction was placed starts its fulfilment; this is when somebody looks who missed the event.
FIRST_SWEEP_AFTER_US = 2_000_000

_sequence_reserved = failpoint("fulfilment.sequence_reserved")
_stored = failpoint("fulfilment.stored")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything placing an order may touch."""

    products: ProductStore
    purchase_orders: PurchaseOrderStore
    transactions: TransactionStore
    now_us: Callable[[], int]
    deadline: timedelta


class Order(Struct, frozen=True, kw_only=True):
    """Who wants what, since when, and what the transaction will be called. A retry is given the same name again."""

    transaction_id: str
    site: int
    client_id: str
    customer: Customer
    request: OrderRequest
    received_us: int
    is_retry: bool = False
    traceparent: str | None = None


class PlacedOrder(Struct, frozen=True):
    """The transaction, and whether it was there before under the customer's own number."""

    transaction: Transaction
    is_duplicate: bool = False


class PricedOrder(Struct, frozen=True):
    """What an order comes to: products as they are now, all in one currency."""

    currency: str
    lines: tuple[TransactionLine, ...]


class ConflictingOrderError(Exception):
    """The customer's number stands for another order already."""


class UnacknowledgedError(UnavailableError):
    """The store did not confirm: the transaction is there whole, or not at all."""

    def __init__(self, away: UnavailableError, transaction_id: str) -> None:
        super().__init__(away.dependency, retry_after_s=away.retry_after_s)
        self.transaction_id = transaction_id


async def place_order(order: Order, world: Deps) -> PlacedOrder:
    """Look for the same order, price it, give it a place on the day's purchase order, store it with its event.

    Returns once that is durable. Raises `Refused` or `OtherContent`, and nothing is stored; or `Unacknowledged` when
    the store did not confirm, and placing it again under the same id is safe.
    """
    try:
        return await _place(order, world)
    except UnavailableError as away:
        raise UnacknowledgedError(away, order.transaction_id) from away


async def _place(order: Order, world: Deps) -> PlacedOrder:
    for _ in range(MAX_ATTEMPTS):
        known = await _known(order, world)
        if known is not None:
            return known
        basket = await _priced(order, world)
        placed = await _add(order, basket, world)
        if placed is not None:
            metrics.PLACED.labels("accepted").inc()
            return PlacedOrder(placed)
    raise UnavailableError("the transaction store")


async def _known(order: Order, world: Deps) -> PlacedOrder | None:
    if order.is_retry:
        own = await world.transactions.find_for_site(order.site, order.transaction_id)
        if own is not None:
            return PlacedOrder(own)
    number = order.request.client_order_number
    if number is None or not order.request.has_duplicate_check:
        return None
    first = await world.transactions.find_by_order_number(order.site, number)
    if first is None:
        return None
    if not is_same_order(order.request, first):
        metrics.PLACED.labels("conflict").inc()
        raise ConflictingOrderError
    metrics.PLACED.labels("duplicate").inc()
    return PlacedOrder(first, is_duplicate=True)


async def _priced(order: Order, world: Deps) -> PricedOrder:
    products = await world.products.find([item.sku for item in order.request.items])
    return PricedOrder(*price_order(order.request, products))


async def _add(order: Order, basket: PricedOrder, world: Deps) -> Transaction | None:
    """Store it on the first purchase order that takes it; None if what is there already is to be looked for again."""
    day = business_date(order.received_us, order.customer.time_zone)
    for _ in range(MAX_ATTEMPTS):
        purchase_order, number = await _enter(order, day, basket.currency, world)
        transaction = _transaction(order, basket, purchase_order, place=number, world=world)
        _sequence_reserved()
        match await world.transactions.add(transaction):
            case InsertResult.INSERTED:
                _stored()
                return transaction
            case InsertResult.EXISTS:
                return await world.transactions.find_for_site(order.site, order.transaction_id)
            case InsertResult.NUMBER_TAKEN:
                return None
            case _:  # the day was closed between entering and storing
                day = next_day(purchase_order.day)
    raise UnavailableError("the purchase order store")


async def _enter(order: Order, day: date, currency: str, world: Deps) -> tuple[PurchaseOrder, int]:
    """A place on the day's purchase order, or on that of the first later day that is not closed."""
    for _ in range(MAX_ATTEMPTS):
        purchase_order = PurchaseOrder(site=order.site, business_date=day.isoformat(), currency=currency)
        number = await world.purchase_orders.reserve_sequence(purchase_order)
        if number is not None:
            return purchase_order, number
        day = next_day(day)
    raise UnavailableError("the purchase order store")


def _transaction(
    order: Order, basket: PricedOrder, purchase_order: PurchaseOrder, *, place: int, world: Deps
) -> Transaction:
    return Transaction(
        id=order.transaction_id,
        site=order.site,
        client_id=order.client_id,
        client_order_number=order.request.client_order_number,
        has_duplicate_check=order.request.has_duplicate_check,
        currency=basket.currency,
        lines=basket.lines,
        purchase_order=purchase_order.id,
        sequence=place,
        business_date=purchase_order.business_date,
        created_us=order.received_us,
        deadline_us=order.received_us + world.deadline // timedelta(microseconds=1),
        due_us=world.now_us() + FIRST_SWEEP_AFTER_US,
        traceparent=order.traceparent,
    )
