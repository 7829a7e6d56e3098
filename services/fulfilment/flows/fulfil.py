"""Fulfils transactions: delivers the codes available now, the others later, and a final status for every unit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from services.chassis.runtime.errors import ContentionError, UnavailableError
from services.chassis.runtime.failpoints import failpoint
from services.fulfilment import metrics
from services.fulfilment.domain.business_day import MICROS_PER_SECOND, business_date
from services.fulfilment.domain.slots import FilledSlot, UnitStatus, slot_keys, unfilled
from services.fulfilment.domain.supply import SupplyRequest, SupplyResult
from services.fulfilment.domain.transaction import Tally, Transaction, TransactionLine, apply_tallies
from services.fulfilment.flows.supplier_log import SupplierLog
from services.fulfilment.ports import Customers, StockStore, Supplier, TransactionStore, get_customer

MAX_ATTEMPTS = 50
MAX_RETRY_PAUSE_S = 60
DEADLINE_PASSED = "no code came before the deadline"

_DELIVERED, _CANCELLED = (metrics.UNITS_ENDED.labels(outcome) for outcome in ("delivered", "cancelled"))
_allocated = failpoint("fulfilment.allocated")
_counted = failpoint("fulfilment.counted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Dependencies of this flow."""

    transactions: TransactionStore
    stock: StockStore
    suppliers: Mapping[str, Supplier]
    customers: Customers
    supplier_log: SupplierLog
    now_us: Callable[[], int]


async def fulfil(transaction_id: str, deps: Deps) -> Transaction | None:
    """Request missing codes, end overdue units, store the counts, schedule the next attempt.

    Returns the transaction as stored then. Any number of workers may do so at once, and again after a crash at any
    point: slots are filled once, and counts follow from them. Raises `UnavailableError`.
    """
    transaction = await deps.transactions.find(transaction_id)
    if transaction is None or transaction.is_final:
        return transaction
    tallies, retries_us = await _supply(transaction, deps)
    _allocated()
    updated = await _save(transaction, tallies, deps)
    _counted()
    if not updated.is_final:
        await deps.transactions.reschedule(updated, due_us=_due_us(updated, retries_us, deps))
    return updated


async def _supply(transaction: Transaction, deps: Deps) -> tuple[dict[int, Tally], list[int]]:
    """Return each pending line's counts after the request to its supplier, and the suppliers' retry times."""
    tallies: dict[int, Tally] = {}
    retries_us: list[int] = []
    unavailable: set[str] = set()
    for number, line in enumerate(transaction.lines):
        if line.pending:
            tallies[number], retry_at_us = await _supply_line(transaction, number, unavailable, deps)
            if retry_at_us is not None:
                retries_us.append(retry_at_us)
    return tallies, retries_us


async def _supply_line(
    transaction: Transaction, number: int, unavailable: set[str], deps: Deps
) -> tuple[Tally, int | None]:
    line = transaction.lines[number]
    slots = list(slot_keys(transaction.id, number, line.quantity))
    # A line without counts probably has no filled slots. If it has, the store refuses to fill them again.
    is_untouched = line.pending == line.quantity
    missing = slots if is_untouched else unfilled(slots, await deps.stock.filled_slots(transaction.id, number))
    result = await _request_codes(transaction, line, missing, unavailable, deps)
    if is_untouched and result.filled == line.quantity:
        return Tally(delivered=line.quantity, cancelled=0), None
    return _tally(await deps.stock.filled_slots(transaction.id, number)), result.retry_at_us


async def _request_codes(
    transaction: Transaction, line: TransactionLine, missing: Sequence[str], unavailable: set[str], deps: Deps
) -> SupplyResult:
    now_us = deps.now_us()
    if not missing:
        return SupplyResult()
    if now_us >= transaction.deadline_us:
        await deps.stock.mark_unfillable(missing, UnitStatus.OUT_OF_STOCK, reason=DEADLINE_PASSED, now_us=now_us)
        return SupplyResult()
    supplier = deps.suppliers.get(line.supplier)
    if supplier is None:
        deps.supplier_log.log_unknown(line, transaction.id)
        return SupplyResult()
    if line.supplier in unavailable:
        return SupplyResult()
    request = SupplyRequest(
        transaction_id=transaction.id,
        sku=line.sku,
        slots=missing,
        created_us=transaction.created_us,
        now_us=now_us,
        attempts=transaction.attempts,
    )
    try:
        result = await supplier.supply(request)
    except UnavailableError as error:
        # An unavailable supplier must not block the other lines, nor be waited for at each line of its own.
        unavailable.add(line.supplier)
        deps.supplier_log.log_unavailable(line, transaction.id, dependency=error.dependency)
        return SupplyResult()
    if result.cancelled:
        reason = result.reason or "cancelled by the supplier"
        await deps.stock.mark_unfillable(result.cancelled, UnitStatus.CANCELLED, reason=reason, now_us=now_us)
    return result


def _tally(filled: Sequence[FilledSlot]) -> Tally:
    delivered = sum(slot.status is UnitStatus.COMPLETED for slot in filled)
    return Tally(delivered=delivered, cancelled=len(filled) - delivered)


async def _save(transaction: Transaction, tallies: Mapping[int, Tally], deps: Deps) -> Transaction:
    """Store the counts unless they are known, by optimistic concurrency control."""
    for _ in range(MAX_ATTEMPTS):
        customer = get_customer(deps.customers, transaction.site)
        today = business_date(deps.now_us(), customer.time_zone).isoformat()
        updated = apply_tallies(transaction, tallies, business_date=today)
        if updated is transaction:
            return updated
        if await deps.transactions.save(updated):
            _update_metrics(transaction, updated, deps)
            return updated
        found = await deps.transactions.find(transaction.id)
        if found is None:
            return updated
        transaction = found
    raise ContentionError("the transaction store")


def _update_metrics(before: Transaction, after: Transaction, deps: Deps) -> None:
    for old, new in zip(before.lines, after.lines, strict=True):
        _DELIVERED.inc(new.delivered - old.delivered)
        _CANCELLED.inc(new.cancelled - old.cancelled)
    if after.is_final:
        metrics.ENDED.labels(after.status.value).inc()
        metrics.COMPLETED_SECONDS.observe(max(deps.now_us() - after.created_us, 0) / MICROS_PER_SECOND)


def _due_us(transaction: Transaction, retries_us: Sequence[int], deps: Deps) -> int:
    backoff_s = min(2**transaction.attempts, MAX_RETRY_PAUSE_S)
    now_us = deps.now_us()
    latest_us = now_us + MAX_RETRY_PAUSE_S * MICROS_PER_SECOND
    return min([transaction.deadline_us, latest_us, *(retries_us or [now_us + backoff_s * MICROS_PER_SECOND])])
