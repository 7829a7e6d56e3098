"""The stores in memory: what the MongoDB ones promise, with turns given away before and after every operation."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec.structs import replace

from services.chassis.runtime.errors import UnavailableError
from services.fulfilment.domain.code import Sealed
from services.fulfilment.domain.invoice import Invoice
from services.fulfilment.domain.listing import InvoicesAsked, TransactionsAsked
from services.fulfilment.domain.product import Product
from services.fulfilment.domain.purchase_order import PurchaseOrder, Stage
from services.fulfilment.domain.slots import Filled, UnitStatus, span
from services.fulfilment.domain.sums import Sums, merged
from services.fulfilment.domain.supply import Taken
from services.fulfilment.domain.transaction import Transaction
from services.fulfilment.ports import Added


class Chance:
    """How the world behaves: `turns` is how often others go first, `fails` may raise before or after an operation."""

    def __init__(self, turns: Callable[[], int] = lambda: 0, fails: Callable[[], str] = lambda: "") -> None:
        self._turns = turns
        self._fails = fails

    async def around(self, work: Callable[[], Any]) -> Any:
        for _ in range(self._turns()):
            await asyncio.sleep(0)
        how = self._fails()
        if how == "before":
            raise UnavailableError("memory")
        done = work()
        if how == "after":
            raise UnavailableError("memory")
        return done


class MemoryProducts:
    def __init__(self, chance: Chance) -> None:
        self.products: dict[str, Product] = {}
        self._chance = chance

    async def prepare(self) -> None: ...

    async def find(self, skus: Iterable[str]) -> Mapping[str, Product]:
        return {sku: self.products[sku] for sku in skus if sku in self.products}

    async def all(self) -> Sequence[Product]:
        return [self.products[sku] for sku in sorted(self.products)]

    async def put(self, product: Product) -> bool:
        is_new = product.sku not in self.products
        self.products[product.sku] = product
        return is_new


class MemoryPurchaseOrders:
    def __init__(self, chance: Chance) -> None:
        self.orders: dict[str, PurchaseOrder] = {}
        self._chance = chance

    async def prepare(self) -> None: ...

    async def enter(self, order: PurchaseOrder) -> int | None:
        def work() -> int | None:
            known = self.orders.get(order.id, order)
            if known.stage is not Stage.OPEN:
                return None
            self.orders[order.id] = replace(known, places=known.places + 1)
            return known.places + 1

        found: int | None = await self._chance.around(work)
        return found

    async def find(self, order_id: str) -> PurchaseOrder | None:
        found: PurchaseOrder | None = await self._chance.around(lambda: self.orders.get(order_id))
        return found

    async def of_day(self, site: int, day: str) -> Sequence[PurchaseOrder]:
        return [one for one in self._sorted() if (one.site, one.business_date) == (site, day)]

    async def unclosed(self, *, until: str) -> Sequence[PurchaseOrder]:
        return [one for one in self._sorted() if one.stage is not Stage.CLOSED and one.business_date <= until]

    async def begin_closing(self, order_id: str) -> PurchaseOrder | None:
        def work() -> PurchaseOrder | None:
            known = self.orders[order_id]
            if known.stage is Stage.CLOSED:
                return None
            self.orders[order_id] = replace(known, stage=Stage.CLOSING)
            return self.orders[order_id]

        found: PurchaseOrder | None = await self._chance.around(work)
        return found

    async def finish_closing(self, order_id: str) -> None:
        await self._chance.around(
            lambda: self.orders.update({order_id: replace(self.orders[order_id], stage=Stage.CLOSED)})
        )

    def _sorted(self) -> list[PurchaseOrder]:
        return sorted(self.orders.values(), key=lambda one: (one.business_date, one.id))


class MemoryTransactions:
    def __init__(self, chance: Chance, now_us: Callable[[], int]) -> None:
        self.kept: dict[str, Transaction] = {}
        self.blocked: set[tuple[str, int]] = set()
        self.owed: set[str] = set()
        self.events: list[tuple[str, str, int]] = []
        self._chance = chance
        self._now_us = now_us

    async def prepare(self) -> None: ...

    async def add(self, transaction: Transaction) -> Added:
        added: Added = await self._chance.around(lambda: self._add(transaction))
        return added

    def _add(self, transaction: Transaction) -> Added:
        if transaction.id in self.kept:
            return Added.THERE
        place = (transaction.purchase_order, transaction.place)
        if place in self.blocked or any((one.purchase_order, one.place) == place for one in self.kept.values()):
            return Added.PLACE_TAKEN
        claim = _claim(transaction)
        if claim is not None and any(_claim(one) == claim for one in self.kept.values()):
            return Added.NUMBER_TAKEN
        self.kept[transaction.id] = transaction
        self.events.append(("placed", transaction.id, 0))
        return Added.ADDED

    async def find(self, transaction_id: str) -> Transaction | None:
        found: Transaction | None = await self._chance.around(lambda: self.kept.get(transaction_id))
        return found

    async def shown(self, site: int, transaction_id: str) -> Transaction | None:
        found = await self.find(transaction_id)
        return found if found is not None and found.site == site else None

    async def with_number(self, site: int, number: str) -> Transaction | None:
        def work() -> Transaction | None:
            found = [one for one in self.kept.values() if (one.site, one.client_order_number) == (site, number)]
            return min(found, key=lambda one: (one.created_us, one.id), default=None)

        first: Transaction | None = await self._chance.around(work)
        return first

    async def save(self, transaction: Transaction) -> bool:
        def work() -> bool:
            known = self.kept[transaction.id]
            if known.version != transaction.version - 1:
                return False
            self.kept[transaction.id] = replace(transaction, due_us=known.due_us, tries=known.tries)
            self.events.append(("codes", transaction.id, transaction.version))
            if transaction.cancellations:
                self.owed.add(transaction.id)
            return True

        done: bool = await self._chance.around(work)
        return done

    async def postpone(self, transaction: Transaction, *, due_us: int) -> None:
        known = self.kept[transaction.id]
        if not known.is_final:
            self.kept[transaction.id] = replace(known, due_us=due_us, tries=known.tries + 1)

    async def claim_due(self, *, most: int, lease_us: int) -> Sequence[str]:
        now_us = self._now_us()
        due = sorted((one.due_us, one.id) for one in self.kept.values() if not one.is_final and one.due_us <= now_us)
        for _, due_id in due[:most]:
            self.kept[due_id] = replace(self.kept[due_id], due_us=now_us + lease_us)
        return [due_id for _, due_id in due[:most]]

    async def wake(self, sku: str) -> None:
        for one in list(self.kept.values()):
            if not one.is_final and any(line.sku == sku and line.pending for line in one.lines):
                self.kept[one.id] = replace(one, due_us=one.created_us, tries=0)

    async def pending(self) -> tuple[int, int | None]:
        open_ones = [one for one in self.kept.values() if not one.is_final]
        return len(open_ones), min((one.created_us for one in open_ones), default=None)

    async def sums(self, order_id: str) -> Sums:
        found = await self.on_order(order_id)
        return Sums(transactions=len(found), lines=merged(found))

    async def on_order(self, order_id: str) -> Sequence[Transaction]:
        def work() -> list[Transaction]:
            found = [one for one in self.kept.values() if one.purchase_order == order_id]
            return sorted(found, key=lambda one: one.place)

        found: list[Transaction] = await self._chance.around(work)
        return found

    async def free_places(self, order: PurchaseOrder) -> Sequence[int]:
        def work() -> list[int]:
            taken = {one.place for one in self.kept.values() if one.purchase_order == order.id}
            taken |= {place for name, place in self.blocked if name == order.id}
            return [place for place in range(1, order.places + 1) if place not in taken]

        found: list[int] = await self._chance.around(work)
        return found

    async def block(self, order_id: str, place: int) -> None:
        def work() -> None:
            if not any((one.purchase_order, one.place) == (order_id, place) for one in self.kept.values()):
                self.blocked.add((order_id, place))

        await self._chance.around(work)

    async def owing(self) -> Mapping[str, Sequence[str]]:
        owing = [self.kept[one] for one in self.owed]
        return {
            order_id: sorted({one.on for two in owing if two.purchase_order == order_id for one in two.cancellations})
            for order_id in {one.purchase_order for one in owing}
        }

    async def settled(self, transaction: Transaction) -> None:
        if self.kept[transaction.id].version == transaction.version:
            self.owed.discard(transaction.id)

    async def listed(self, asked: TransactionsAsked) -> Sequence[Transaction]:
        found = [one for one in self.kept.values() if _is_wanted(one, asked)]
        return sorted(found, key=lambda one: (one.created_us, one.id), reverse=True)[: asked.rows + 1]


class MemoryStock:
    """`unique=False` plants a bug: a place may be filled twice. `guarded=False`: a code may be taken twice."""

    def __init__(self, chance: Chance, *, unique: bool = True, guarded: bool = True) -> None:
        self.free_codes: dict[str, tuple[str, Sealed]] = {}
        self.filling: list[tuple[Filled, Sealed | None]] = []
        self.known: set[str] = set()
        self._chance = chance
        self._unique = unique
        self._guarded = guarded

    async def prepare(self) -> None: ...

    async def load(self, sku: str, codes: Sequence[Sealed]) -> int:
        new = {code.digest: (sku, code) for code in codes if code.digest not in self.known}
        self.free_codes |= new
        self.known |= new.keys()
        return len(new)

    async def free(self, sku: str) -> int:
        return sum(of == sku for of, _ in self.free_codes.values())

    async def take(self, sku: str, slots: Sequence[str], *, now_us: int) -> Taken:
        del now_us
        seen = [code for of, code in self.free_codes.values() if of == sku][: len(slots)]
        bound = 0
        for code, slot in zip(seen, slots, strict=False):
            bound += await self._chance.around(partial(self._take, code, slot))
        return Taken(len(seen), bound)

    def _take(self, code: Sealed, slot: str) -> bool:
        if (self._guarded and code.digest not in self.free_codes) or not self._is_free(slot):
            return False
        self.free_codes.pop(code.digest, None)
        self.filling.append((Filled(slot, UnitStatus.COMPLETED), code))
        return True

    async def bind(self, sku: str, codes: Mapping[str, Sealed], *, now_us: int) -> int:
        del sku, now_us
        bound = 0
        for slot, code in codes.items():
            if self._is_free(slot) and code.digest not in self.known:
                self.known.add(code.digest)
                self.filling.append((Filled(slot, UnitStatus.COMPLETED), code))
                bound += 1
        return bound

    async def refuse(self, slots: Sequence[str], status: UnitStatus, *, reason: str, now_us: int) -> None:
        del now_us
        for slot in slots:
            if self._is_free(slot):
                self.filling.append((Filled(slot, status, reason), None))

    async def filled(self, transaction_id: str, line: int) -> Sequence[Filled]:
        found: Sequence[Filled] = await self._chance.around(
            lambda: [one for one, _ in self._within(transaction_id, line)]
        )
        return found

    async def units(self, transaction_id: str, line: int | None) -> Sequence[tuple[Filled, Sealed | None]]:
        return sorted(self._within(transaction_id, line), key=lambda one: one[0].slot)

    def _within(self, transaction_id: str, line: int | None) -> list[tuple[Filled, Sealed | None]]:
        low, high = span(transaction_id, line)
        return [one for one in self.filling if low <= one[0].slot < high]

    def _is_free(self, slot: str) -> bool:
        return not self._unique or all(one.slot != slot for one, _ in self.filling)


class MemoryInvoices:
    """`is_unique=False` plants a bug: numbers are given without looking whether they are free."""

    def __init__(self, chance: Chance, *, is_unique: bool = True) -> None:
        self.issued: list[Invoice] = []
        self._chance = chance
        self._is_unique = is_unique

    async def prepare(self) -> None: ...

    async def last_number(self, site: int, year: int) -> int:
        def work() -> int:
            return max((one.number for one in self._series(site, year)), default=0)

        found: int = await self._chance.around(work)
        return found

    async def add(self, invoice: Invoice) -> Added:
        def work() -> Added:
            draft = invoice.draft
            if any(one.draft.id == draft.id for one in self.issued):
                return Added.THERE
            taken = {one.number for one in self._series(draft.party.site, draft.year)}
            if self._is_unique and invoice.number in taken:
                return Added.NUMBER_TAKEN
            self.issued.append(invoice)
            return Added.ADDED

        added: Added = await self._chance.around(work)
        return added

    async def of_order(self, order_id: str) -> Sequence[Invoice]:
        def work() -> list[Invoice]:
            found = (one for one in self.issued if one.draft.purchase_order == order_id)
            return sorted(found, key=lambda one: one.draft.turn)

        found: list[Invoice] = await self._chance.around(work)
        return found

    async def listed(self, asked: InvoicesAsked) -> Sequence[Invoice]:
        def key(one: Invoice) -> tuple[str, str]:
            return one.draft.business_date, one.draft.id

        after = None if asked.after is None else (str(asked.after.sort), asked.after.id)
        found = [
            one
            for one in self.issued
            if one.draft.party.site == asked.site
            and (asked.from_on or "") <= one.draft.business_date <= (asked.to_on or "9")
            and (after is None or key(one) < after)
        ]
        return sorted(found, key=key, reverse=True)[: asked.rows + 1]

    async def find(self, invoice_id: str) -> Invoice | None:
        return next((one for one in self.issued if one.draft.id == invoice_id), None)

    def _series(self, site: int, year: int) -> list[Invoice]:
        return [one for one in self.issued if (one.draft.party.site, one.draft.year) == (site, year)]


Work = Callable[[], Awaitable[Any]]


def _claim(transaction: Transaction) -> tuple[int, str] | None:
    if transaction.client_order_number is None or not transaction.is_checked:
        return None
    return transaction.site, transaction.client_order_number


def _is_wanted(one: Transaction, asked: TransactionsAsked) -> bool:
    if one.site != asked.site or asked.transaction_id not in (None, one.id):
        return False
    if asked.client_order_number not in (None, one.client_order_number):
        return False
    if asked.purchase_order not in (None, one.purchase_order):
        return False
    if asked.from_us is not None and one.created_us < asked.from_us:
        return False
    if asked.to_us is not None and one.created_us >= asked.to_us:
        return False
    return asked.after is None or (one.created_us, one.id) < (int(asked.after.sort), asked.after.id)
