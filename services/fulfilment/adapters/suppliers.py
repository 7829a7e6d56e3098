"""Where codes come from: our own stock, and a simulated supplier for demonstrations."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Protocol

from services.fulfilment.domain.business_day import MICROS
from services.fulfilment.domain.code import Code
from services.fulfilment.domain.slots import Filled, line_of, unfilled
from services.fulfilment.domain.supply import Demand, Served
from services.fulfilment.ports import Binding, OnSale, Seal, Supplier

# Each round that finds codes and gets none of them means that others got them.
MOST_ROUNDS = 30
CANCELLED_AFTER_US = 3 * MICROS


class Stock(OnSale, Binding, Protocol):
    """Codes on sale, and places for codes that come from elsewhere."""


def suppliers_of(stock: Stock, seal: Seal, *, is_simulated: bool) -> Mapping[str, Supplier]:
    """Every supplier that an installation has, by the name that products know it by; no product can have another."""
    suppliers: dict[str, Supplier] = {"stock": LocalStock(stock)}
    if is_simulated:
        suppliers["simulated"] = SimulatedSupplier(stock, seal)
    return suppliers


class LocalStock:
    """Delivers what was loaded into the stock."""

    def __init__(self, stock: OnSale) -> None:
        self._stock = stock

    async def serve(self, demand: Demand) -> Served:
        """Fill places as long as there are codes for sale."""
        missing, filled = list(demand.slots), 0
        for _ in range(MOST_ROUNDS):
            taken = await self._stock.take(demand.sku, missing, now_us=demand.now_us)
            filled += taken.bound
            if taken.found < len(missing) or taken.bound == len(missing):
                break
            missing = unfilled(missing, await self._filled(demand, missing))
            if not missing:
                break
        return Served(filled=filled)

    async def _filled(self, demand: Demand, missing: Sequence[str]) -> Sequence[Filled]:
        return await self._stock.filled(demand.transaction_id, line_of(missing[0]))


class SimulatedSupplier:
    """Makes codes up, in ways that can be told from the product: at once, one a second, never, or cancelling.

    What it makes for a place is always the same, as a real supplier's answer to a repeated order would be.
    """

    def __init__(self, stock: Binding, seal: Seal) -> None:
        self._stock = stock
        self._seal = seal

    async def serve(self, demand: Demand) -> Served:
        """What the product's way of delivering gives by now."""
        match demand.sku:
            case "DEMO-TRICKLE":
                return await self._trickle(demand)
            case "DEMO-NEVER":
                return Served()
            case "DEMO-CANCEL":
                return _cancel(demand)
            case _:
                return Served(filled=await self._deliver(demand, demand.slots))

    async def _trickle(self, demand: Demand) -> Served:
        seconds = (demand.now_us - demand.created_us) // MICROS
        ripe = [slot for slot in demand.slots if _unit(slot) <= seconds]
        filled = await self._deliver(demand, ripe)
        return Served(filled=filled, retry_at_us=demand.created_us + (seconds + 1) * MICROS)

    async def _deliver(self, demand: Demand, slots: Sequence[str]) -> int:
        codes = {slot: self._seal(demand.sku, _code(slot)) for slot in slots}
        return await self._stock.bind(demand.sku, codes, now_us=demand.now_us)


def _cancel(demand: Demand) -> Served:
    at_us = demand.created_us + CANCELLED_AFTER_US
    if demand.now_us < at_us:
        return Served(retry_at_us=at_us)
    return Served(refused=demand.slots, reason="the supplier has cancelled it")


def _unit(slot: str) -> int:
    return int(slot.rpartition(":")[2])


def _code(slot: str) -> Code:
    text = hashlib.sha256(f"simulated:{slot}".encode()).hexdigest().upper()
    groups = [text[start : start + 5] for start in range(0, 20, 5)]
    return Code("-".join(groups), f"{int(text[20:28], 16) % 10_000:04d}")
