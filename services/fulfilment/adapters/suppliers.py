"""Suppliers of codes: our own stock, and a simulated supplier for demonstrations."""

import hashlib
from collections.abc import Mapping, Sequence

from services.fulfilment.domain.business_day import MICROS_PER_SECOND
from services.fulfilment.domain.code import Code
from services.fulfilment.domain.slots import line_number, unfilled
from services.fulfilment.domain.supply import SupplyRequest, SupplyResult
from services.fulfilment.ports import SealCode, StockStore, Supplier

# Codes were found but none was allocated: concurrent requests took them. Each attempt means progress elsewhere.
MAX_ATTEMPTS = 30
CANCELLED_AFTER_US = 3 * MICROS_PER_SECOND


def build_suppliers(stock: StockStore, seal: SealCode, *, is_simulated: bool) -> Mapping[str, Supplier]:
    """Return the suppliers of an installation by the name that products refer to."""
    suppliers: dict[str, Supplier] = {"stock": StockSupplier(stock)}
    if is_simulated:
        suppliers["simulated"] = SimulatedSupplier(stock, seal)
    return suppliers


class StockSupplier(Supplier):
    """Delivers codes that were loaded into the stock."""

    def __init__(self, stock: StockStore) -> None:
        self._stock = stock

    async def supply(self, request: SupplyRequest) -> SupplyResult:
        missing, filled = list(request.slots), 0
        for _ in range(MAX_ATTEMPTS):
            allocation = await self._stock.allocate(request.sku, missing, now_us=request.now_us)
            filled += allocation.filled
            if allocation.found < len(missing) or allocation.filled == len(missing):
                break
            line = line_number(missing[0])
            missing = unfilled(missing, await self._stock.filled_slots(request.transaction_id, line))
            if not missing:
                break
        return SupplyResult(filled=filled)


class SimulatedSupplier(Supplier):
    """Invents codes, as the SKU demands: at once, one per second, never, or by cancelling the order.

    A slot always gets the same code, as a real supplier would answer a repeated request.
    """

    def __init__(self, stock: StockStore, seal: SealCode) -> None:
        self._stock = stock
        self._seal = seal

    async def supply(self, request: SupplyRequest) -> SupplyResult:
        match request.sku:
            case "DEMO-TRICKLE":
                return await self._trickle(request)
            case "DEMO-NEVER":
                return SupplyResult()
            case "DEMO-CANCEL":
                return _cancel(request)
            case _:
                return SupplyResult(filled=await self._fill(request, request.slots))

    async def _trickle(self, request: SupplyRequest) -> SupplyResult:
        seconds = (request.now_us - request.created_us) // MICROS_PER_SECOND
        due = [slot for slot in request.slots if int(slot.rpartition(":")[2]) <= seconds]
        filled = await self._fill(request, due)
        return SupplyResult(filled=filled, retry_at_us=request.created_us + (seconds + 1) * MICROS_PER_SECOND)

    async def _fill(self, request: SupplyRequest, slots: Sequence[str]) -> int:
        codes = {slot: self._seal(request.sku, _invent_code(slot)) for slot in slots}
        return await self._stock.fill(request.sku, codes, now_us=request.now_us)


def _cancel(request: SupplyRequest) -> SupplyResult:
    cancelled_at_us = request.created_us + CANCELLED_AFTER_US
    if request.now_us < cancelled_at_us:
        return SupplyResult(retry_at_us=cancelled_at_us)
    return SupplyResult(cancelled=request.slots, reason="the supplier has cancelled it")


def _invent_code(slot: str) -> Code:
    digits = hashlib.sha256(f"simulated:{slot}".encode()).hexdigest().upper()
    groups = [digits[start : start + 5] for start in range(0, 20, 5)]
    return Code("-".join(groups), f"{int(digits[20:28], 16) % 10_000:04d}")
