"""Discloses the codes of a transaction to its customer."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from msgspec import Struct

from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.logs import logger
from services.fulfilment.domain.code import Code, SealedCode
from services.fulfilment.domain.slots import FilledSlot, UnitStatus, slot_keys, stock_id
from services.fulfilment.domain.transaction import Tally, Transaction, apply_tallies
from services.fulfilment.ports import StockStore, TransactionReader

# How long a response waits for codes that may arrive now.
FULFIL_TIMEOUT_S = 0.5
# Units of an order that are read at once, some hundred bytes each.
MAX_UNITS_AT_ONCE = 2_000
_LOG = logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Dependencies of this flow. `try_fulfil` delivers a transaction's codes as far as possible."""

    transactions: TransactionReader
    stock: StockStore
    try_fulfil: Callable[[str], Awaitable[object]]
    open_code: Callable[[str, SealedCode], Code]


class Unit(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """One unit as its owner sees it."""

    stock_id: str
    status: UnitStatus
    redeem_code: str | None = None
    pin_code: str | None = None
    reason: str | None = None

    def __repr__(self) -> str:
        """Hide the code."""
        return f"Unit({self.stock_id}, {self.status})"


class TransactionCodes(Struct, frozen=True):
    """A transaction and its units by line."""

    transaction: Transaction
    lines: Mapping[int, Sequence[Unit]]

    @property
    def disclosed_count(self) -> int:
        """Number of codes among the units."""
        return sum(unit.redeem_code is not None for units in self.lines.values() for unit in units)


async def find_transaction(site: int, transaction_id: str, deps: Deps) -> Transaction | None:
    """Try to fulfil a pending transaction, then return it; None if it is not the customer's.

    Raises `UnavailableError`.
    """
    transaction = await deps.transactions.find_for_site(site, transaction_id)
    if transaction is None or transaction.is_final:
        return transaction
    await _try_fulfil(transaction_id, deps)
    return await deps.transactions.find_for_site(site, transaction_id) or transaction


def is_large(transaction: Transaction, sku: str | None) -> bool:
    """Whether the units of the transaction, or of one product of it, take megabytes."""
    return sum(line.quantity for line in transaction.lines if sku in (None, line.sku)) > MAX_UNITS_AT_ONCE


async def read_codes(transaction: Transaction, sku: str | None, deps: Deps) -> TransactionCodes:
    """Return all units of the transaction, or of one product of it: codes, reasons and placeholders.

    A code that was returned once is always returned. Raises `UnavailableError`.
    """
    numbers = [number for number, line in enumerate(transaction.lines) if sku in (None, line.sku)]
    # Each query returns all lines, or those of one. An order may have a hundred lines of a thousand units.
    by_line = sku is not None or is_large(transaction, sku)
    filled = {} if by_line or not numbers else await _filled_slots(transaction, None, deps)
    lines: dict[int, Sequence[Unit]] = {}
    for number in numbers:
        found = await _filled_slots(transaction, number, deps) if by_line else filled
        lines[number] = _build_units(transaction, number, found, deps)
        # Let other tasks run in between.
        await asyncio.sleep(0)
    return TransactionCodes(_with_current_counts(transaction, lines), lines)


async def _filled_slots(
    transaction: Transaction, line: int | None, deps: Deps
) -> Mapping[str, tuple[FilledSlot, SealedCode | None]]:
    found = await deps.stock.slots_with_codes(transaction.id, line)
    return {slot.slot: (slot, sealed) for slot, sealed in found}


async def _try_fulfil(transaction_id: str, deps: Deps) -> None:
    # Available codes are returned even if delivering the others fails.
    try:
        async with asyncio.timeout(FULFIL_TIMEOUT_S):
            await deps.try_fulfil(transaction_id)
    except (TimeoutError, UnavailableError):
        return
    except Exception:  # noqa: BLE001 - a defect in delivering, which stays due
        _LOG.exception("transaction not fulfilled", transactionId=transaction_id)


def _build_units(
    transaction: Transaction, number: int, filled: Mapping[str, tuple[FilledSlot, SealedCode | None]], deps: Deps
) -> list[Unit]:
    line = transaction.lines[number]
    slots = slot_keys(transaction.id, number, line.quantity)
    return [_build_unit(slot, filled.get(slot), line.sku, deps) for slot in slots]


def _build_unit(slot: str, found: tuple[FilledSlot, SealedCode | None] | None, sku: str, deps: Deps) -> Unit:
    if found is None:
        return Unit(stock_id(slot), UnitStatus.PROCESSING)
    filled, sealed = found
    if sealed is None:
        return Unit(stock_id(slot), filled.status, reason=filled.reason)
    code = deps.open_code(sku, sealed)
    return Unit(stock_id(slot), filled.status, code.redeem_code, code.pin_code)


def _with_current_counts(transaction: Transaction, lines: Mapping[int, Sequence[Unit]]) -> Transaction:
    """Return the transaction with the counts of these units: the stored ones may lag behind."""
    tallies = {number: _tally(units) for number, units in lines.items()}
    return apply_tallies(transaction, tallies, business_date=transaction.business_date)


def _tally(units: Sequence[Unit]) -> Tally:
    delivered = sum(unit.status is UnitStatus.COMPLETED for unit in units)
    ended = sum(unit.status is not UnitStatus.PROCESSING for unit in units)
    return Tally(delivered=delivered, cancelled=ended - delivered)
