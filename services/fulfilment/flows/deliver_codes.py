"""From a transaction to codes: as many as there are now, the rest later, and an end for every unit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.failpoints import failpoint
from services.fulfilment import metrics
from services.fulfilment.domain.business_day import MICROS_PER_SECOND, business_date
from services.fulfilment.domain.slots import FilledSlot, UnitStatus, slot_keys, unfilled
from services.fulfilment.domain.supply import SupplyRequest, SupplyResult
from services.fulfilment.domain.transaction import Tally, Transaction, TransactionLine, apply_tallies
from services.fulfilment.flows.supplier_log import SupplierLog
from services.fulfilment.ports import Customers, Slots, Supplier, TransactionStore

MAX_ATTEMPTS = 50
MAX_RETRY_PAUSE_S = 60
DEADLINE_PASSED = "no code came before the deadline"

_DELIVERED, _CANCELLED = (metrics.UNITS_ENDED.labels(outcome) for outcome in ("delivered", "cancelled"))
_allocated = failpoint("fulfilment.allocated")
_counted = failpoint("fulfilment.counted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything fulfilling may touch."""

    transactions: TransactionStore
    stock: Slots
    suppliers: Mapping[str, Supplier]
    customers: Customers
    supplier_log: SupplierLog
    now_us: Callable[[], int]


async def fulfil(transaction_id: str, deps: Deps) -> Transaction | None:
    """Ask the suppliers for what is missing, end what is too late, count what is there, say when to look again.

    Returns the transaction as it is now. It may be done by any number of workers at once, and again after a crash at
    any point: places are filled once, and counts follow from them. Raises `Away`.
    """
    transaction = await deps.transactions.find(transaction_id)
    if transaction is None or transaction.is_final:
        return transaction
    tallies, retries = await _serve(transaction, deps)
    _allocated()
    now = await _save(transaction, tallies, deps)
    _counted()
    if not now.is_final:
        await deps.transactions.reschedule(now, due_us=_due_us(now, retries, deps))
    return now


async def _serve(transaction: Transaction, world: Deps) -> tuple[dict[int, Tally], list[int]]:
    """Each pending line's counts after its supplier was asked, and when suppliers want to be asked again."""
    tallies: dict[int, Tally] = {}
    retries: list[int] = []
    silent: set[str] = set()
    for number, line in enumerate(transaction.lines):
        if line.pending:
            served = await _serve_line(transaction, number, world, silent)
            tallies[number] = served[0]
            if served[1] is not None:
                retries.append(served[1])
    return tallies, retries


async def _serve_line(transaction: Transaction, number: int, world: Deps, silent: set[str]) -> tuple[Tally, int | None]:
    line = transaction.lines[number]
    wanted = list(slot_keys(transaction.id, number, line.quantity))
    # A line nobody has touched is probably empty. Where it is not, the store refuses to fill a place again.
    is_untouched = line.pending == line.quantity
    missing = wanted if is_untouched else unfilled(wanted, await world.stock.filled_slots(transaction.id, number))
    served = await _ask(transaction, line, missing, world, silent)
    if is_untouched and served.filled == line.quantity:
        return Tally(delivered=line.quantity, cancelled=0), None
    return _tally(await world.stock.filled_slots(transaction.id, number)), served.retry_at_us


async def _ask(
    transaction: Transaction, line: TransactionLine, missing: Sequence[str], world: Deps, silent: set[str]
) -> SupplyResult:
    now_us = world.now_us()
    if not missing:
        return SupplyResult()
    if now_us >= transaction.deadline_us:
        await world.stock.mark_unfillable(missing, UnitStatus.OUT_OF_STOCK, reason=DEADLINE_PASSED, now_us=now_us)
        return SupplyResult()
    supplier = world.suppliers.get(line.supplier)
    if supplier is None:
        world.supplier_log.log_unknown(line, transaction.id)
        return SupplyResult()
    if line.supplier in silent:
        return SupplyResult()
    demand = SupplyRequest(
        transaction_id=transaction.id,
        sku=line.sku,
        slots=missing,
        created_us=transaction.created_us,
        now_us=now_us,
        attempts=transaction.attempts,
    )
    try:
        served = await supplier.supply(demand)
    except UnavailableError as away:
        # One supplier's trouble must not keep the other lines waiting, nor be waited for at each line of its own.
        silent.add(line.supplier)
        world.supplier_log.log_unavailable(line, transaction.id, dependency=away.dependency)
        return SupplyResult()
    if served.cancelled:
        reason = served.reason or "cancelled by the supplier"
        await world.stock.mark_unfillable(served.cancelled, UnitStatus.CANCELLED, reason=reason, now_us=now_us)
    return served


def _tally(filled: Sequence[FilledSlot]) -> Tally:
    delivered = sum(one.status is UnitStatus.COMPLETED for one in filled)
    return Tally(delivered=delivered, cancelled=len(filled) - delivered)


async def _save(transaction: Transaction, tallies: Mapping[int, Tally], world: Deps) -> Transaction:
    """Bring the counts into the transaction, whoever else does so at the same time."""
    for _ in range(MAX_ATTEMPTS):
        customer = world.customers.get(transaction.site)
        if customer is None:
            raise UnavailableError("the customer's configuration")
        on = business_date(world.now_us(), customer.time_zone).isoformat()
        now = apply_tallies(transaction, tallies, business_date=on)
        if now is transaction:
            return now
        if await world.transactions.save(now):
            _count(transaction, now, world)
            return now
        found = await world.transactions.find(transaction.id)
        if found is None:
            return now
        transaction = found
    raise UnavailableError("the transaction store")


def _count(before: Transaction, now: Transaction, world: Deps) -> None:
    for old, new in zip(before.lines, now.lines, strict=True):
        _DELIVERED.inc(new.delivered - old.delivered)
        _CANCELLED.inc(new.cancelled - old.cancelled)
    if now.is_final:
        metrics.ENDED.labels(now.status.value).inc()
        metrics.COMPLETED_SECONDS.observe(max(world.now_us() - now.created_us, 0) / MICROS_PER_SECOND)


def _due_us(transaction: Transaction, retries: Sequence[int], world: Deps) -> int:
    pause_s = min(2**transaction.attempts, MAX_RETRY_PAUSE_S)
    later_us = world.now_us() + pause_s * MICROS_PER_SECOND
    return min([transaction.deadline_us, *(retries or [later_us])])
