"""Where codes come from: our own stock, and a simulated supplier for demonstrations."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Protocol

from services.fulfilment.domain.business_day import MICROS_PER_SECOND
from services.fulfilment.domain.code import Code
from services.fulfilment.domain.slots import FilledSlot, line_number, unfilled
from services.fulfilment.domain.supply import SupplyRequest, SupplyResult
from services.fulfilment.ports import Binding, OnSale, Seal, Supplier

# Each round that finds codes and gets none of them means that others got them.
MAX_ATTEMPTS = 30
CANCELLED_AFTER_US = 3 * MICROS_PER_SECOND


class Stock(OnSale, Binding, Protocol):
    """Codes on sale, and places for codes that come from elsewhere."""


def build_suppliers(stock: Stock, seal: Seal, *, is_simulated: bool) -> Mapping[str, Supplier]:
    """Every supplier that an installation has, by the name that products know it by; no product can have another."""
    suppliers: dict[str, Supplier] = {"stock": StockSupplier(stock)}
    if is_simulated:
        suppliers["simulated"] = SimulatedSupplier(stock, seal)
    return suppliers


class StockSupplier:
    """Delivers what was loaded into the stock."""

    def __init__(self, stock: OnSale) -> None:
        self._stock = stock

    async def supply(self, demand: SupplyRequest) -> SupplyResult:
        """Fill places as long as there are codes for sale."""
        missing, filled = list(demand.slots), 0
        for _ in range(MAX_ATTEMPTS):
            taken = await self._stock.allocate(demand.sku, missing, now_us=demand.now_us)
            filled += taken.filled
            if taken.found < len(missing) or taken.filled == len(missing):
                break
            missing = unfilled(missing, await self._filled(demand, missing))
            if not missing:
                break
        return SupplyResult(filled=filled)

    async def _filled(self, demand: SupplyRequest, missing: Sequence[str]) -> Sequence[FilledSlot]:
        return await self._stock.filled_slots(demand.transaction_id, line_number(missing[0]))


class SimulatedSupplier:
    """Makes codes up, in ways that can be told from the product: at once, one a second, never, or cancelling.

    What it makes for a place is always the same, as a real supplier's answer to a repeated order would be.
    """

    def __init__(self, stock: Binding, seal: Seal) -> None:
        self._stock = stock
        self._seal = seal

    async def supply(self, demand: SupplyRequest) -> SupplyResult:
        """What the product's way of delivering gives by now."""
        match demand.sku:
            case "DEMO-TRICKLE":
                return await self._trickle(demand)
            case "DEMO-NEVER":
                return SupplyResult()
            case "DEMO-CANCEL":
                return _cancel(demand)
            case _:
                return SupplyResult(filled=await self._deliver(demand, demand.slots))

    async def _trickle(self, demand: SupplyRequest) -> SupplyResult:
        seconds = (demand.now_us - demand.created_us) // MICROS_PER_SECOND
        ripe = [slot for slot in demand.slots if _unit(slot) <= seconds]
        filled = await self._deliver(demand, ripe)
        return SupplyResult(filled=filled, retry_at_us=demand.created_us + (seconds + 1) * MICROS_PER_SECOND)

    async def _deliver(self, demand: SupplyRequest, slots: Sequence[str]) -> int:
        codes = {slot: self._seal(demand.sku, _code(slot)) for slot in slots}
        return await self._stock.fill(demand.sku, codes, now_us=demand.now_us)


def _cancel(demand: SupplyRequest) -> SupplyResult:
    at_us = demand.created_us + CANCELLED_AFTER_US
    if demand.now_us < at_us:
        return SupplyResult(retry_at_us=at_us)
    return SupplyResult(cancelled=demand.slots, reason="the supplier has cancelled it")


def _unit(slot: str) -> int:
    return int(slot.rpartition(":")[2])


def _code(slot: str) -> Code:
    text = hashlib.sha256(f"simulated:{slot}".encode()).hexdigest().upper()
    groups = [text[start : start + 5] for start in range(0, 20, 5)]
    return Code("-".join(groups), f"{int(text[20:28], 16) % 10_000:04d}")
