"""From a day that is over to its invoices, and from later cancellations to credit notes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta, timezone

from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.failpoints import failpoint
from services.fulfilment import metrics
from services.fulfilment.domain.business_day import business_date, has_ended
from services.fulfilment.domain.customer import Customer
from services.fulfilment.domain.invoice import (
    Invoice,
    InvoiceDraft,
    days_with_cancellations,
    draft_credit_note,
    draft_invoice,
)
from services.fulfilment.domain.purchase_order import PurchaseOrder, PurchaseOrderState
from services.fulfilment.domain.transaction import Transaction
from services.fulfilment.ports import Customers, InsertResult, InvoiceStore, PurchaseOrderStore, TransactionStore

MAX_ATTEMPTS = 200
# Nowhere is it earlier or later than there.
LATEST_TIME_ZONE = timezone(timedelta(hours=14))

_closing = failpoint("fulfilment.closing")
_issuing = failpoint("fulfilment.issuing")
_issued = failpoint("fulfilment.issued")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything closing a day may touch. `grace_us` lets orders that came before midnight reach their day."""

    purchase_orders: PurchaseOrderStore
    transactions: TransactionStore
    invoices: InvoiceStore
    customers: Customers
    now_us: Callable[[], int]
    grace_us: int = 0


async def close_and_credit(world: Deps) -> None:
    """Close the days that are over, and credit what was cancelled after its invoice.

    Any number of closers may do so at once, and again after a crash at any point. Raises `Away`, and, once all others
    have their documents, an `ExceptionGroup` of what kept some from it.
    """
    defects: list[Exception] = []
    for step in (close_ended_days, issue_credit_notes):
        with _collecting(defects):
            await step(world)
    if defects:
        raise ExceptionGroup("documents that cannot be issued", defects)


async def close_ended_days(world: Deps) -> int:
    """Close every purchase order whose day is over; returns how many were closed.

    Safe to repeat, and as hard to hold up, as `settle` is.
    """
    latest = business_date(world.now_us(), LATEST_TIME_ZONE)
    due = [order for order in await world.purchase_orders.unclosed(until=latest.isoformat()) if _is_due(order, world)]
    metrics.UNCLOSED.set(len(due))
    try:
        await _close_all(due, world)
    except ExceptionGroup as unclosed:
        metrics.UNCLOSED.set(len(unclosed.exceptions))
        raise
    metrics.UNCLOSED.set(0)
    return len(due)


async def _close_all(due: Sequence[PurchaseOrder], world: Deps) -> None:
    defects: list[Exception] = []
    for order in due:
        with _collecting(defects):
            await close_purchase_order(order, world)
    if defects:
        raise ExceptionGroup("purchase orders that cannot be closed", defects)


async def close_day(day: date, world: Deps) -> int:
    """Close the purchase orders of one day, over or not: later orders go to the next.

    Returns how many were closed. Safe to repeat, and as hard to hold up, as `settle` is.
    """
    due = [order for order in await world.purchase_orders.unclosed(until=day.isoformat()) if order.day == day]
    await _close_all(due, world)
    return len(due)


async def close_purchase_order(order: PurchaseOrder, world: Deps) -> None:
    """Let it take no more, wait for nobody, count what stands on it, issue its invoice."""
    customer = _customer(order, world)
    closing = await world.purchase_orders.begin_closing(order.id)
    if closing is None:
        return
    _closing()
    transactions = await _final_transactions(closing, world)
    if transactions:
        draft = draft_invoice(closing, transactions, customer=customer.billing, issued_us=world.now_us())
        await _issue(draft, world)
    await world.purchase_orders.finish_closing(order.id)


async def issue_credit_notes(world: Deps) -> int:
    """A credit note for every closed purchase order and every day that is over and on which units were cancelled.

    Returns how many were issued. Safe to repeat, and as hard to hold up, as `settle` is.
    """
    count = 0
    defects: list[Exception] = []
    for order_id, days in (await world.transactions.uncredited()).items():
        with _collecting(defects):
            order = await world.purchase_orders.find(order_id)
            # What is cancelled before the invoice is issued stands on the invoice.
            if order is not None and order.state is PurchaseOrderState.CLOSED and _over(days, order, world):
                count += await _credit(order, world)
    if defects:
        raise ExceptionGroup("credit notes that cannot be issued", defects)
    return count


@contextmanager
def _collecting(defects: list[Exception]) -> Iterator[None]:
    """Put by what keeps one customer from a document: it must not keep the others from theirs. `Away` is for all."""
    try:
        yield
    except UnavailableError:
        raise
    except Exception as defect:  # noqa: BLE001 - raised again after the other customers
        defects.append(defect)


def _is_due(order: PurchaseOrder, world: Deps) -> bool:
    customer = world.customers.get(order.site)
    return customer is not None and has_ended(order.day, world.now_us() - world.grace_us, customer.time_zone)


def _customer(order: PurchaseOrder, world: Deps) -> Customer:
    customer = world.customers.get(order.site)
    if customer is None:
        raise UnavailableError("the customer's configuration")
    return customer


async def _final_transactions(order: PurchaseOrder, world: Deps) -> Sequence[Transaction]:
    """All that stand on it for ever: a place that was given and not taken is blocked, so nobody can come later."""
    for _ in range(MAX_ATTEMPTS):
        free = await world.transactions.unused_sequences(order)
        if not free:
            return await world.transactions.list_by_purchase_order(order.id)
        for place in free:
            await world.transactions.void_sequence(order.id, place)
    raise UnavailableError("the transaction store")


async def _issue(draft: InvoiceDraft, world: Deps) -> bool:
    """Store the document under the next number of its series: both come together, so no number is left out.

    False if somebody else has issued it.
    """
    for _ in range(MAX_ATTEMPTS):
        number = await world.invoices.last_number(draft.customer.site, draft.year) + 1
        _issuing()
        added = await world.invoices.add(Invoice(draft, number))
        if added is not InsertResult.NUMBER_TAKEN:
            _issued()
            if added is InsertResult.INSERTED:
                metrics.INVOICES.labels(draft.kind.value).inc()
            return added is InsertResult.INSERTED
    raise UnavailableError("the invoice store")


async def _credit(order: PurchaseOrder, world: Deps) -> int:
    transactions = await world.transactions.list_by_purchase_order(order.id)
    over = _over(days_with_cancellations(transactions, since=order.business_date), order, world)
    count = 0
    for day in over:
        count += await _credit_day(order, transactions, day, _customer(order, world), world)
    last = max(over, default="")
    for transaction in transactions:
        if transaction.cancellations and all(one.business_date <= last for one in transaction.cancellations):
            await world.transactions.mark_credited(transaction)
    return count


def _over(days: Sequence[str], order: PurchaseOrder, world: Deps) -> Sequence[str]:
    """Those of the days that are over for the customer."""
    zone, ended_us = _customer(order, world).time_zone, world.now_us() - world.grace_us
    return [day for day in days if has_ended(date.fromisoformat(day), ended_us, zone)]


async def _credit_day(
    order: PurchaseOrder, transactions: Sequence[Transaction], day: str, customer: Customer, world: Deps
) -> int:
    """Issue what is missing, until nothing is: another closer may know of less, and be first."""
    count = 0
    for _ in range(MAX_ATTEMPTS):
        issued = await world.invoices.list_by_purchase_order(order.id)
        draft = draft_credit_note(
            order, transactions, issued, business_date=day, customer=customer.billing, issued_us=world.now_us()
        )
        if draft is None:
            return count
        count += await _issue(draft, world)
    raise UnavailableError("the invoice store")
