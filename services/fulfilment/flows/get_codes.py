"""What customers are shown of their transactions and codes."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from msgspec import Struct

from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.logs import logger
from services.fulfilment.domain.code import Code, SealedCode
from services.fulfilment.domain.slots import FilledSlot, UnitStatus, slot_keys, stock_id
from services.fulfilment.domain.transaction import Tally, Transaction, apply_tallies
from services.fulfilment.ports import Disclosed, ShownTransactions

# So long an answer is held back for codes that may come just now.
FULFIL_TIMEOUT_S = 0.5
_LOG = logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything showing codes may touch. `nudge` fulfils a transaction as far as can be."""

    transactions: ShownTransactions
    stock: Disclosed
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
        """Without its code."""
        return f"Unit({self.stock_id}, {self.status})"


class TransactionCodes(Struct, frozen=True):
    """A transaction as it is now, and its units by line."""

    transaction: Transaction
    lines: Mapping[int, Sequence[Unit]]

    @property
    def disclosed_count(self) -> int:
        """How many codes are shown."""
        return sum(unit.redeem_code is not None for units in self.lines.values() for unit in units)


async def get_codes(site: int, transaction_id: str, sku: str | None, world: Deps) -> TransactionCodes | None:
    """Nudge the transaction if it is pending; then all its units: codes, reasons, placeholders.

    None if it is not the customer's. Whatever was shown once is shown again. Raises `Away`.
    """
    transaction = await world.transactions.find_for_site(site, transaction_id)
    if transaction is None:
        return None
    if not transaction.is_final:
        await _nudge(transaction_id, world)
        transaction = await world.transactions.find_for_site(site, transaction_id) or transaction
    wanted = [number for number, line in enumerate(transaction.lines) if sku in (None, line.sku)]
    found = await world.stock.slots_with_codes(transaction_id, None if sku is None else wanted[0]) if wanted else ()
    filled = {one.slot: (one, sealed) for one, sealed in found}
    lines: dict[int, Sequence[Unit]] = {}
    for line in wanted:
        lines[line] = _units(transaction, line, filled, world)
        # A line may have a thousand units, and an order a hundred lines: others must have their turn.
        await asyncio.sleep(0)
    return TransactionCodes(_brought_forward(transaction, lines), lines)


async def _nudge(transaction_id: str, world: Deps) -> None:
    # Who asks for codes gets those that are there, whatever becomes of the rest.
    try:
        async with asyncio.timeout(FULFIL_TIMEOUT_S):
            await world.try_fulfil(transaction_id)
    except (TimeoutError, UnavailableError):
        return
    except Exception:  # noqa: BLE001 - a defect in fulfilling, which stays due
        _LOG.exception("a transaction could not be fulfilled")


def _units(
    transaction: Transaction, number: int, filled: Mapping[str, tuple[FilledSlot, SealedCode | None]], world: Deps
) -> list[Unit]:
    line = transaction.lines[number]
    return [_unit(slot, filled.get(slot), line.sku, world) for slot in slot_keys(transaction.id, number, line.quantity)]


def _unit(slot: str, found: tuple[FilledSlot, SealedCode | None] | None, sku: str, world: Deps) -> Unit:
    if found is None:
        return Unit(stock_id(slot), UnitStatus.PROCESSING)
    filled, sealed = found
    if sealed is None:
        return Unit(stock_id(slot), filled.status, reason=filled.reason)
    code = world.open_code(sku, sealed)
    return Unit(stock_id(slot), filled.status, code.redeem_code, code.pin_code)


def _brought_forward(transaction: Transaction, lines: Mapping[int, Sequence[Unit]]) -> Transaction:
    """The transaction with the counts of the units that are shown: its own may lag behind by an instant."""
    tallies = {number: _tally(units) for number, units in lines.items()}
    return apply_tallies(transaction, tallies, business_date=transaction.business_date)


def _tally(units: Sequence[Unit]) -> Tally:
    delivered = sum(unit.status is UnitStatus.COMPLETED for unit in units)
    ended = sum(unit.status is not UnitStatus.PROCESSING for unit in units)
    return Tally(delivered=delivered, cancelled=ended - delivered)
