"""The stores in memory: what the MongoDB ones promise, with turns given away before and after every operation."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec.structs import replace

from services.chassis.runtime.errors import UnavailableError
from services.fulfilment.domain.code import SealedCode
from services.fulfilment.domain.invoice import Invoice
from services.fulfilment.domain.listing import InvoiceQuery, TransactionQuery
from services.fulfilment.domain.product import Product
from services.fulfilment.domain.purchase_order import PurchaseOrder, PurchaseOrderState
from services.fulfilment.domain.slots import FilledSlot, UnitStatus, slot_range
from services.fulfilment.domain.supply import Allocation
from services.fulfilment.domain.totals import PurchaseOrderTotals, merge_lines
from services.fulfilment.domain.transaction import Transaction
from services.fulfilment.ports import InsertResult


class Interference:
    """How the world behaves: `turns` is how often others go first, `fails` may raise before or after an operation."""

    def __init__(self, yields: Callable[[], int] = lambda: 0, fails: Callable[[], str] = lambda: "") -> None:
        self._turns = yields
        self._fails = fails

    async def run(self, work: Callable[[], Any]) -> Any:
        for _ in range(self._turns()):
            await asyncio.sleep(0)
        how = self._fails()
        if how == "before":
            raise UnavailableError("memory")
        done = work()
        if how == "after":
            raise UnavailableError("memory")
        return done


class FakeProductStore:
    def __init__(self, chance: Interference) -> None:
        self.products: dict[str, Product] = {}
        self._chance = chance

    async def create_indexes(self) -> None: ...

    async def find(self, skus: Iterable[str]) -> Mapping[str, Product]:
        return {sku: self.products[sku] for sku in skus if sku in self.products}

    async def list_all(self) -> Sequence[Product]:
        return [self.products[sku] for sku in sorted(self.products)]

    async def put(self, product: Product) -> bool:
        is_new = product.sku not in self.products
        self.products[product.sku] = product
        return is_new


class FakePurchaseOrderStore:
    def __init__(self, chance: Interference) -> None:
        self.orders: dict[str, PurchaseOrder] = {}
        self._chance = chance

    async def create_indexes(self) -> None: ...

    async def reserve_sequence(self, order: PurchaseOrder) -> int | None:
        def work() -> int | None:
            known = self.orders.get(order.id, order)
            if known.state is not PurchaseOrderState.OPEN:
                return None
            self.orders[order.id] = replace(known, last_sequence=known.last_sequence + 1)
            return known.last_sequence + 1

        found: int | None = await self._chance.run(work)
        return found

    async def find(self, order_id: str) -> PurchaseOrder | None:
        found: PurchaseOrder | None = await self._chance.run(lambda: self.orders.get(order_id))
        return found

    async def list_by_day(self, site: int, day: str) -> Sequence[PurchaseOrder]:
        return [one for one in self._sorted() if (one.site, one.business_date) == (site, day)]

    async def unclosed(self, *, until: str) -> Sequence[PurchaseOrder]:
        return [
            one for one in self._sorted() if one.state is not PurchaseOrderState.CLOSED and one.business_date <= until
        ]

    async def begin_closing(self, order_id: str) -> PurchaseOrder | None:
        def work() -> PurchaseOrder | None:
            known = self.orders[order_id]
            if known.state is PurchaseOrderState.CLOSED:
                return None
            self.orders[order_id] = replace(known, state=PurchaseOrderState.CLOSING)
            return self.orders[order_id]

        found: PurchaseOrder | None = await self._chance.run(work)
        return found

    async def finish_closing(self, order_id: str) -> None:
        await self._chance.run(
            lambda: self.orders.update({order_id: replace(self.orders[order_id], state=PurchaseOrderState.CLOSED)})
        )

    def _sorted(self) -> list[PurchaseOrder]:
        return sorted(self.orders.values(), key=lambda one: (one.business_date, one.id))


class FakeTransactionStore:
    def __init__(self, chance: Interference, now_us: Callable[[], int]) -> None:
        self.by_id: dict[str, Transaction] = {}
        self.voided: set[tuple[str, int]] = set()
        self.with_uncredited: set[str] = set()
        self.events: list[tuple[str, str, int]] = []
        self._chance = chance
        self._now_us = now_us

    async def create_indexes(self) -> None: ...

    async def add(self, transaction: Transaction) -> InsertResult:
        added: InsertResult = await self._chance.run(lambda: self._add(transaction))
        return added

    def _add(self, transaction: Transaction) -> InsertResult:
        if transaction.id in self.by_id:
            return InsertResult.EXISTS
        place = (transaction.purchase_order, transaction.sequence)
        if place in self.voided or any((one.purchase_order, one.sequence) == place for one in self.by_id.values()):
            return InsertResult.SEQUENCE_TAKEN
        claim = _unique_order_number(transaction)
        if claim is not None and any(_unique_order_number(one) == claim for one in self.by_id.values()):
            return InsertResult.NUMBER_TAKEN
        self.by_id[transaction.id] = transaction
        self.events.append(("placed", transaction.id, 0))
        return InsertResult.INSERTED

    async def find(self, transaction_id: str) -> Transaction | None:
        found: Transaction | None = await self._chance.run(lambda: self.by_id.get(transaction_id))
        return found

    async def find_for_site(self, site: int, transaction_id: str) -> Transaction | None:
        found = await self.find(transaction_id)
        return found if found is not None and found.site == site else None

    async def find_by_order_number(self, site: int, number: str) -> Transaction | None:
        def work() -> Transaction | None:
            found = [one for one in self.by_id.values() if (one.site, one.client_order_number) == (site, number)]
            return min(found, key=lambda one: (one.created_us, one.id), default=None)

        first: Transaction | None = await self._chance.run(work)
        return first

    async def save(self, transaction: Transaction) -> bool:
        def work() -> bool:
            known = self.by_id[transaction.id]
            if known.version != transaction.version - 1:
                return False
            self.by_id[transaction.id] = replace(transaction, due_us=known.due_us, attempts=known.attempts)
            self.events.append(("codes", transaction.id, transaction.version))
            if transaction.cancellations:
                self.with_uncredited.add(transaction.id)
            return True

        done: bool = await self._chance.run(work)
        return done

    async def reschedule(self, transaction: Transaction, *, due_us: int) -> None:
        known = self.by_id[transaction.id]
        if not known.is_final:
            self.by_id[transaction.id] = replace(known, due_us=due_us, attempts=known.attempts + 1)

    async def claim_due(self, *, limit: int, lease_us: int) -> Sequence[str]:
        now_us = self._now_us()
        due = sorted((one.due_us, one.id) for one in self.by_id.values() if not one.is_final and one.due_us <= now_us)
        for _, due_id in due[:limit]:
            self.by_id[due_id] = replace(self.by_id[due_id], due_us=now_us + lease_us)
        return [due_id for _, due_id in due[:limit]]

    async def make_due(self, sku: str) -> None:
        for one in list(self.by_id.values()):
            if not one.is_final and any(line.sku == sku and line.pending for line in one.lines):
                self.by_id[one.id] = replace(one, due_us=one.created_us, attempts=0)

    async def count_pending(self) -> tuple[int, int | None]:
        open_ones = [one for one in self.by_id.values() if not one.is_final]
        return len(open_ones), min((one.created_us for one in open_ones), default=None)

    async def totals(self, order_id: str) -> PurchaseOrderTotals:
        found = await self.list_by_purchase_order(order_id)
        return PurchaseOrderTotals(transactions=len(found), lines=merge_lines(found))

    async def list_by_purchase_order(self, order_id: str) -> Sequence[Transaction]:
        def work() -> list[Transaction]:
            found = [one for one in self.by_id.values() if one.purchase_order == order_id]
            return sorted(found, key=lambda one: one.sequence)

        found: list[Transaction] = await self._chance.run(work)
        return found

    async def unused_sequences(self, order: PurchaseOrder) -> Sequence[int]:
        def work() -> list[int]:
            taken = {one.sequence for one in self.by_id.values() if one.purchase_order == order.id}
            taken |= {place for name, place in self.voided if name == order.id}
            return [place for place in range(1, order.last_sequence + 1) if place not in taken]

        found: list[int] = await self._chance.run(work)
        return found

    async def void_sequence(self, order_id: str, sequence: int) -> None:
        def work() -> None:
            if not any((one.purchase_order, one.sequence) == (order_id, sequence) for one in self.by_id.values()):
                self.voided.add((order_id, sequence))

        await self._chance.run(work)

    async def uncredited(self) -> Mapping[str, Sequence[str]]:
        owing = [self.by_id[one] for one in self.with_uncredited]
        return {
            order_id: sorted(
                {one.business_date for two in owing if two.purchase_order == order_id for one in two.cancellations}
            )
            for order_id in {one.purchase_order for one in owing}
        }

    async def mark_credited(self, transaction: Transaction) -> None:
        if self.by_id[transaction.id].version == transaction.version:
            self.with_uncredited.discard(transaction.id)

    async def find_page(self, query: TransactionQuery) -> Sequence[Transaction]:
        found = [one for one in self.by_id.values() if _matches(one, query)]
        return sorted(found, key=lambda one: (one.created_us, one.id), reverse=True)[: query.rows + 1]


class FakeStockStore:
    """`unique=False` plants a bug: a place may be filled twice. `guarded=False`: a code may be taken twice."""

    def __init__(self, chance: Interference, *, unique: bool = True, guarded: bool = True) -> None:
        self.free_codes: dict[str, tuple[str, SealedCode]] = {}
        self.filling: list[tuple[FilledSlot, SealedCode | None]] = []
        self.known: set[str] = set()
        self._chance = chance
        self._unique = unique
        self._guarded = guarded

    async def create_indexes(self) -> None: ...

    async def load(self, sku: str, codes: Sequence[SealedCode]) -> int:
        new = {code.digest: (sku, code) for code in codes if code.digest not in self.known}
        self.free_codes |= new
        self.known |= new.keys()
        return len(new)

    async def count_available(self, sku: str) -> int:
        return sum(of == sku for of, _ in self.free_codes.values())

    async def allocate(self, sku: str, slots: Sequence[str], *, now_us: int) -> Allocation:
        del now_us
        seen = [code for of, code in self.free_codes.values() if of == sku][: len(slots)]
        bound = 0
        for code, slot in zip(seen, slots, strict=False):
            bound += await self._chance.run(partial(self._take, code, slot))
        return Allocation(len(seen), bound)

    def _take(self, code: SealedCode, slot: str) -> bool:
        if (self._guarded and code.digest not in self.free_codes) or not self._is_free(slot):
            return False
        self.free_codes.pop(code.digest, None)
        self.filling.append((FilledSlot(slot, UnitStatus.COMPLETED), code))
        return True

    async def fill(self, sku: str, codes: Mapping[str, SealedCode], *, now_us: int) -> int:
        del sku, now_us
        bound = 0
        for slot, code in codes.items():
            if self._is_free(slot) and code.digest not in self.known:
                self.known.add(code.digest)
                self.filling.append((FilledSlot(slot, UnitStatus.COMPLETED), code))
                bound += 1
        return bound

    async def mark_unfillable(self, slots: Sequence[str], status: UnitStatus, *, reason: str, now_us: int) -> None:
        del now_us
        for slot in slots:
            if self._is_free(slot):
                self.filling.append((FilledSlot(slot, status, reason), None))

    async def filled_slots(self, transaction_id: str, line: int) -> Sequence[FilledSlot]:
        found: Sequence[FilledSlot] = await self._chance.run(
            lambda: [one for one, _ in self._within(transaction_id, line)]
        )
        return found

    async def slots_with_codes(
        self, transaction_id: str, line: int | None
    ) -> Sequence[tuple[FilledSlot, SealedCode | None]]:
        return sorted(self._within(transaction_id, line), key=lambda one: one[0].slot)

    def _within(self, transaction_id: str, line: int | None) -> list[tuple[FilledSlot, SealedCode | None]]:
        low, high = slot_range(transaction_id, line)
        return [one for one in self.filling if low <= one[0].slot < high]

    def _is_free(self, slot: str) -> bool:
        return not self._unique or all(one.slot != slot for one, _ in self.filling)


class FakeInvoiceStore:
    """`is_unique=False` plants a bug: numbers are given without looking whether they are free."""

    def __init__(self, chance: Interference, *, is_unique: bool = True) -> None:
        self.issued: list[Invoice] = []
        self._chance = chance
        self._is_unique = is_unique

    async def create_indexes(self) -> None: ...

    async def last_number(self, site: int, year: int) -> int:
        def work() -> int:
            return max((one.number for one in self._series(site, year)), default=0)

        found: int = await self._chance.run(work)
        return found

    async def add(self, invoice: Invoice) -> InsertResult:
        def work() -> InsertResult:
            draft = invoice.draft
            if any(one.draft.id == draft.id for one in self.issued):
                return InsertResult.EXISTS
            taken = {one.number for one in self._series(draft.customer.site, draft.year)}
            if self._is_unique and invoice.number in taken:
                return InsertResult.NUMBER_TAKEN
            self.issued.append(invoice)
            return InsertResult.INSERTED

        added: InsertResult = await self._chance.run(work)
        return added

    async def list_by_purchase_order(self, order_id: str) -> Sequence[Invoice]:
        def work() -> list[Invoice]:
            found = (one for one in self.issued if one.draft.purchase_order == order_id)
            return sorted(found, key=lambda one: one.draft.sequence)

        found: list[Invoice] = await self._chance.run(work)
        return found

    async def find_page(self, query: InvoiceQuery) -> Sequence[Invoice]:
        def key(one: Invoice) -> tuple[str, str]:
            return one.draft.business_date, one.draft.id

        after = None if query.after is None else (str(query.after.sort_key), query.after.id)
        found = [
            one
            for one in self.issued
            if one.draft.customer.site == query.site
            and (query.from_date or "") <= one.draft.business_date <= (query.to_date or "9")
            and (after is None or key(one) < after)
        ]
        return sorted(found, key=key, reverse=True)[: query.rows + 1]

    async def find(self, invoice_id: str) -> Invoice | None:
        return next((one for one in self.issued if one.draft.id == invoice_id), None)

    def _series(self, site: int, year: int) -> list[Invoice]:
        return [one for one in self.issued if (one.draft.customer.site, one.draft.year) == (site, year)]


Work = Callable[[], Awaitable[Any]]


def _unique_order_number(transaction: Transaction) -> tuple[int, str] | None:
    if transaction.client_order_number is None or not transaction.has_duplicate_check:
        return None
    return transaction.site, transaction.client_order_number


def _matches(one: Transaction, asked: TransactionQuery) -> bool:
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
    return asked.after is None or (one.created_us, one.id) < (int(asked.after.sort_key), asked.after.id)
