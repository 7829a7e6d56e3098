"""Closes ended days: purchase orders get their invoices, later cancellations their credit notes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta, timezone

from services.chassis.runtime.errors import ContentionError, UnavailableError
from services.chassis.runtime.failpoints import failpoint
from services.fulfilment import metrics
from services.fulfilment.domain.business_day import business_date, has_ended
from services.fulfilment.domain.customer import BillingDetails
from services.fulfilment.domain.invoice import Invoice, InvoiceDraft, Issuer, draft_credit_note, draft_invoice
from services.fulfilment.domain.purchase_order import PurchaseOrder, PurchaseOrderState
from services.fulfilment.domain.totals import LineMerger
from services.fulfilment.ports import (
    Customers,
    InsertResult,
    InvoiceStore,
    PurchaseOrderStore,
    TransactionStore,
    get_customer,
)

MAX_ATTEMPTS = 200
# No time zone is further ahead of UTC: a day that has not begun here has begun nowhere.
LATEST_TIME_ZONE = timezone(timedelta(hours=14))

_closing = failpoint("fulfilment.closing")
_issuing = failpoint("fulfilment.issuing")
_issued = failpoint("fulfilment.issued")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Dependencies of this flow. For `grace_us` after midnight, orders received before can still join their day."""

    purchase_orders: PurchaseOrderStore
    transactions: TransactionStore
    invoices: InvoiceStore
    customers: Customers
    issuer: Issuer
    now_us: Callable[[], int]
    grace_us: int = 0


async def close_and_credit(deps: Deps) -> None:
    """Close the purchase orders of ended days, and credit units that were cancelled after their invoice.

    Any number of processes may do so at once, and again after a crash at any point. One failing purchase order does
    not block the others: its error is part of an `ExceptionGroup`, raised in the end. `UnavailableError` is raised at
    once.
    """
    errors: list[Exception] = []
    for step in (close_ended_days, issue_credit_notes):
        with _collect_errors(errors):
            await step(deps)
    if errors:
        raise ExceptionGroup("documents that cannot be issued", errors)


async def close_ended_days(deps: Deps) -> int:
    """Close every purchase order whose day has ended, and return how many those are.

    Idempotent. One failing purchase order does not block the others (see `close_and_credit`).
    """
    latest = business_date(deps.now_us(), LATEST_TIME_ZONE)
    due = [order for order in await deps.purchase_orders.unclosed(until=latest.isoformat()) if _is_due(order, deps)]
    metrics.OVERDUE.set(len(due))
    try:
        await _close_all(due, deps)
    except ExceptionGroup as group:
        metrics.OVERDUE.set(len(group.exceptions))
        raise
    metrics.OVERDUE.set(0)
    return len(due)


async def close_day(day: date, deps: Deps) -> int:
    """Close the purchase orders of one day, ended or not, and return how many those are. Later orders join the next.

    Idempotent. One failing purchase order does not block the others (see `close_and_credit`).
    """
    due = [order for order in await deps.purchase_orders.unclosed(until=day.isoformat()) if order.day == day]
    await _close_all(due, deps)
    return len(due)


async def close_purchase_order(order: PurchaseOrder, deps: Deps) -> None:
    """Stop it from accepting transactions, void unused sequence numbers, issue its invoice."""
    customer = get_customer(deps.customers, order.site)
    closing = await deps.purchase_orders.begin_closing(order.id)
    if closing is None:
        return
    _closing()
    await _void_unused_sequences(closing, deps)
    merged = LineMerger(until=closing.business_date)
    async for transaction in deps.transactions.iterate_by_purchase_order(closing.id):
        merged.add(transaction)
    if merged.transactions:
        draft = draft_invoice(closing, merged, issuer=deps.issuer, customer=customer.billing, issued_us=deps.now_us())
        await _issue(draft, deps)
    await deps.purchase_orders.finish_closing(order.id)


async def issue_credit_notes(deps: Deps) -> int:
    """Issue a credit note per closed purchase order and ended day with cancellations; returns how many were issued.

    Idempotent. One failing purchase order does not block the others (see `close_and_credit`).
    """
    count = 0
    errors: list[Exception] = []
    for order_id, days in (await deps.transactions.uncredited()).items():
        with _collect_errors(errors):
            order = await deps.purchase_orders.find(order_id)
            # Until then, its invoice will account for the cancellations.
            is_closed = order is not None and order.state is PurchaseOrderState.CLOSED
            if order is not None and is_closed and (ended := _ended_days(days, order, deps)):
                count += await _credit(order, ended, deps)
    if errors:
        raise ExceptionGroup("credit notes that cannot be issued", errors)
    return count


@contextmanager
def _collect_errors(errors: list[Exception]) -> Iterator[None]:
    """Collect errors of one customer, which must not block the others; `UnavailableError` concerns all."""
    try:
        yield
    except UnavailableError:
        raise
    except Exception as error:  # noqa: BLE001 - raised again after the other customers
        errors.append(error)


async def _close_all(due: Sequence[PurchaseOrder], deps: Deps) -> None:
    errors: list[Exception] = []
    for order in due:
        with _collect_errors(errors):
            await close_purchase_order(order, deps)
    if errors:
        raise ExceptionGroup("purchase orders that cannot be closed", errors)


def _is_due(order: PurchaseOrder, deps: Deps) -> bool:
    customer = deps.customers.get(order.site)
    return customer is not None and has_ended(order.day, deps.now_us() - deps.grace_us, customer.time_zone)


async def _void_unused_sequences(order: PurchaseOrder, deps: Deps) -> None:
    """Void unused sequence numbers until none is left: from then on, no transaction can be added."""
    for _ in range(MAX_ATTEMPTS):
        unused = await deps.transactions.unused_sequences(order)
        if not unused:
            return
        for sequence in unused:
            await deps.transactions.void_sequence(order.id, sequence)
    raise ContentionError("the transaction store")


async def _issue(draft: InvoiceDraft, deps: Deps) -> bool:
    """Store the document under the next number of its series, in one write: the series has no gaps.

    Returns False if another process has issued it.
    """
    for _ in range(MAX_ATTEMPTS):
        number = await deps.invoices.last_number(draft.customer.site, draft.year) + 1
        _issuing()
        result = await deps.invoices.add(Invoice(draft, number))
        if result is not InsertResult.NUMBER_TAKEN:
            _issued()
            if result is InsertResult.EXISTS and await deps.invoices.find(draft.id) is None:
                # A failing primary may still roll it back, while the purchase order stays closed.
                raise UnavailableError("the invoice store")
            if result is InsertResult.INSERTED:
                metrics.INVOICES.labels(draft.kind.value).inc()
            return result is InsertResult.INSERTED
    raise ContentionError("the invoice store")


async def _credit(order: PurchaseOrder, ended: Sequence[str], deps: Deps) -> int:
    customer = get_customer(deps.customers, order.site)
    merged = {day: LineMerger(until=day) for day in ended}
    credited: list[tuple[str, int]] = []
    async for transaction in deps.transactions.iterate_by_purchase_order(order.id):
        for merger in merged.values():
            merger.add(transaction)
        cancellations = transaction.cancellations
        if cancellations and all(cancellation.business_date <= ended[-1] for cancellation in cancellations):
            credited.append((transaction.id, transaction.version))
    count = 0
    for day, merger in merged.items():
        count += await _credit_day(order, merger, day, customer.billing, deps)
    for transaction_id, version in credited:
        await deps.transactions.mark_credited(transaction_id, version=version)
    return count


def _ended_days(days: Sequence[str], order: PurchaseOrder, deps: Deps) -> Sequence[str]:
    """Return those of the days that have ended for the customer; days before the purchase order's count as its day."""
    zone, at_us = get_customer(deps.customers, order.site).time_zone, deps.now_us() - deps.grace_us
    days = sorted({max(day, order.business_date) for day in days})
    return [day for day in days if has_ended(date.fromisoformat(day), at_us, zone)]


async def _credit_day(order: PurchaseOrder, merged: LineMerger, day: str, customer: BillingDetails, deps: Deps) -> int:
    """Issue credit notes until nothing is left to credit: another process may issue one that covers less."""
    count = 0
    for _ in range(MAX_ATTEMPTS):
        issued = await deps.invoices.list_by_purchase_order(order.id)
        draft = draft_credit_note(
            order, merged, issued, business_date=day, issuer=deps.issuer, customer=customer, issued_us=deps.now_us()
        )
        if draft is None:
            return count
        count += await _issue(draft, deps)
    raise ContentionError("the invoice store")
