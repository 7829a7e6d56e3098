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
from services.fulfilment.domain.ordering import Wanted, is_same, priced
from services.fulfilment.domain.purchase_order import PurchaseOrder
from services.fulfilment.domain.transaction import Line, Transaction
from services.fulfilment.ports import Added, Products, PurchaseOrders, Transactions

# Each round that loses means that somebody else won.
MOST_ROUNDS = 50
# The event that a transaction was placed starts its fulfilment; this is when somebody looks who missed the event.
FIRST_LOOK_US = 2_000_000

_entered = failpoint("fulfilment.entered")
_added = failpoint("fulfilment.added")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything placing an order may touch."""

    products: Products
    purchase_orders: PurchaseOrders
    transactions: Transactions
    now_us: Callable[[], int]
    deadline: timedelta


class Order(Struct, frozen=True, kw_only=True):
    """Who wants what, since when, and what the transaction will be called. A retry is given the same name again."""

    transaction_id: str
    site: int
    client_id: str
    customer: Customer
    wanted: Wanted
    received_us: int
    is_retry: bool = False
    traceparent: str | None = None


class Placed(Struct, frozen=True):
    """The transaction, and whether it was there before under the customer's own number."""

    transaction: Transaction
    is_duplicate: bool = False


class Basket(Struct, frozen=True):
    """What an order comes to: products as they are now, all in one currency."""

    currency: str
    lines: tuple[Line, ...]


class OtherContent(Exception):  # noqa: N818 - it says what is wrong
    """The customer's number stands for another order already."""


class UnacknowledgedError(UnavailableError):
    """The store did not confirm: the transaction is there whole, or not at all."""

    def __init__(self, away: UnavailableError, transaction_id: str) -> None:
        super().__init__(away.dependency, retry_after_s=away.retry_after_s)
        self.transaction_id = transaction_id


async def place(order: Order, world: World) -> Placed:
    """Look for the same order, price it, give it a place on the day's purchase order, store it with its event.

    Returns once that is durable. Raises `Refused` or `OtherContent`, and nothing is stored; or `Unacknowledged` when
    the store did not confirm, and placing it again under the same id is safe.
    """
    try:
        return await _place(order, world)
    except UnavailableError as away:
        raise UnacknowledgedError(away, order.transaction_id) from away


async def _place(order: Order, world: World) -> Placed:
    for _ in range(MOST_ROUNDS):
        known = await _known(order, world)
        if known is not None:
            return known
        basket = await _priced(order, world)
        placed = await _add(order, basket, world)
        if placed is not None:
            metrics.PLACED.labels("accepted").inc()
            return Placed(placed)
    raise UnavailableError("the transaction store")


async def _known(order: Order, world: World) -> Placed | None:
    if order.is_retry:
        own = await world.transactions.shown(order.site, order.transaction_id)
        if own is not None:
            return Placed(own)
    number = order.wanted.client_order_number
    if number is None or not order.wanted.is_checked:
        return None
    first = await world.transactions.with_number(order.site, number)
    if first is None:
        return None
    if not is_same(order.wanted, first):
        metrics.PLACED.labels("conflict").inc()
        raise OtherContent
    metrics.PLACED.labels("duplicate").inc()
    return Placed(first, is_duplicate=True)


async def _priced(order: Order, world: World) -> Basket:
    products = await world.products.find([item.sku for item in order.wanted.items])
    return Basket(*priced(order.wanted, products))


async def _add(order: Order, basket: Basket, world: World) -> Transaction | None:
    """Store it on the first purchase order that takes it; None if what is there already is to be looked for again."""
    day = business_date(order.received_us, order.customer.zone)
    for _ in range(MOST_ROUNDS):
        purchase_order, number = await _enter(order, day, basket.currency, world)
        transaction = _transaction(order, basket, purchase_order, place=number, world=world)
        _entered()
        match await world.transactions.add(transaction):
            case Added.ADDED:
                _added()
                return transaction
            case Added.THERE:
                return await world.transactions.shown(order.site, order.transaction_id)
            case Added.NUMBER_TAKEN:
                return None
            case _:  # the day was closed between entering and storing
                day = next_day(purchase_order.day)
    raise UnavailableError("the purchase order store")


async def _enter(order: Order, day: date, currency: str, world: World) -> tuple[PurchaseOrder, int]:
    """A place on the day's purchase order, or on that of the first later day that is not closed."""
    for _ in range(MOST_ROUNDS):
        purchase_order = PurchaseOrder(site=order.site, business_date=day.isoformat(), currency=currency)
        number = await world.purchase_orders.enter(purchase_order)
        if number is not None:
            return purchase_order, number
        day = next_day(day)
    raise UnavailableError("the purchase order store")


def _transaction(
    order: Order, basket: Basket, purchase_order: PurchaseOrder, *, place: int, world: World
) -> Transaction:
    return Transaction(
        id=order.transaction_id,
        site=order.site,
        client_id=order.client_id,
        client_order_number=order.wanted.client_order_number,
        is_checked=order.wanted.is_checked,
        currency=basket.currency,
        lines=basket.lines,
        purchase_order=purchase_order.id,
        place=place,
        business_date=purchase_order.business_date,
        created_us=order.received_us,
        deadline_us=order.received_us + world.deadline // timedelta(microseconds=1),
        due_us=world.now_us() + FIRST_LOOK_US,
        traceparent=order.traceparent,
    )
