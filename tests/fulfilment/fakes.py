"""Fake stores in memory. They yield to other tasks, and may fail, before and after every operation."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
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
from services.fulfilment.domain.totals import LineMerger, PurchaseOrderTotals
from services.fulfilment.domain.transaction import MAX_DUE_AHEAD_US, Transaction
from services.fulfilment.ports import InsertResult


class Interference:
    """`yields` is how often other tasks run before an operation; `fails` may let it fail before or after its effect."""

    def __init__(self, yields: Callable[[], int] = lambda: 0, fails: Callable[[], str] = lambda: "") -> None:
        self._yields = yields
        self._fails = fails

    async def apply(self, work: Callable[[], Any]) -> Any:
        for _ in range(self._yields()):
            await asyncio.sleep(0)
        failure = self._fails()
        if failure == "before":
            raise UnavailableError("memory")
        result = work()
        if failure == "after":
            raise UnavailableError("memory")
        return result


class FakeProductStore:
    def __init__(self) -> None:
        self.products: dict[str, Product] = {}

    async def find(self, skus: Iterable[str]) -> Mapping[str, Product]:
        return {sku: self.products[sku] for sku in skus if sku in self.products}

    async def list_all(self) -> Sequence[Product]:
        return [self.products[sku] for sku in sorted(self.products)]

    async def put(self, product: Product) -> bool:
        is_new = product.sku not in self.products
        self.products[product.sku] = product
        return is_new


class FakePurchaseOrderStore:
    def __init__(self, interference: Interference) -> None:
        self.by_id: dict[str, PurchaseOrder] = {}
        self.interference = interference

    async def reserve_sequence(self, order: PurchaseOrder) -> int | None:
        def work() -> int | None:
            stored = self.by_id.get(order.id, order)
            if stored.state is not PurchaseOrderState.OPEN:
                return None
            self.by_id[order.id] = replace(stored, last_sequence=stored.last_sequence + 1)
            return stored.last_sequence + 1

        sequence: int | None = await self.interference.apply(work)
        return sequence

    async def find(self, order_id: str) -> PurchaseOrder | None:
        found: PurchaseOrder | None = await self.interference.apply(lambda: self.by_id.get(order_id))
        return found

    async def list_by_day(self, site: int, day: str) -> Sequence[PurchaseOrder]:
        return [order for order in self._sorted() if (order.site, order.business_date) == (site, day)]

    async def unclosed(self, *, until: str) -> Sequence[PurchaseOrder]:
        closed = PurchaseOrderState.CLOSED
        return [order for order in self._sorted() if order.state is not closed and order.business_date <= until]

    async def begin_closing(self, order_id: str) -> PurchaseOrder | None:
        def work() -> PurchaseOrder | None:
            stored = self.by_id[order_id]
            if stored.state is PurchaseOrderState.CLOSED:
                return None
            self.by_id[order_id] = replace(stored, state=PurchaseOrderState.CLOSING)
            return self.by_id[order_id]

        found: PurchaseOrder | None = await self.interference.apply(work)
        return found

    async def finish_closing(self, order_id: str) -> None:
        def work() -> None:
            self.by_id[order_id] = replace(self.by_id[order_id], state=PurchaseOrderState.CLOSED)

        await self.interference.apply(work)

    def _sorted(self) -> list[PurchaseOrder]:
        return sorted(self.by_id.values(), key=lambda order: (order.business_date, order.id))


class FakeTransactionStore:
    def __init__(self, interference: Interference, now_us: Callable[[], int]) -> None:
        self.by_id: dict[str, Transaction] = {}
        self.voided: set[tuple[str, int]] = set()
        self.with_uncredited: set[str] = set()
        self.events: list[tuple[str, str, int]] = []
        self.interference = interference
        self._now_us = now_us

    async def add(self, transaction: Transaction) -> InsertResult:
        result: InsertResult = await self.interference.apply(lambda: self._add(transaction))
        return result

    def _add(self, transaction: Transaction) -> InsertResult:
        if transaction.id in self.by_id:
            return InsertResult.EXISTS
        if (transaction.purchase_order, transaction.sequence) in self.voided | self._used_sequences():
            return InsertResult.SEQUENCE_TAKEN
        number = _unique_order_number(transaction)
        if number is not None and any(_unique_order_number(stored) == number for stored in self.by_id.values()):
            return InsertResult.NUMBER_TAKEN
        self.by_id[transaction.id] = transaction
        self.events.append(("placed", transaction.id, 0))
        return InsertResult.INSERTED

    async def find(self, transaction_id: str) -> Transaction | None:
        found: Transaction | None = await self.interference.apply(lambda: self.by_id.get(transaction_id))
        return found

    async def find_for_site(self, site: int, transaction_id: str) -> Transaction | None:
        found = await self.find(transaction_id)
        return found if found is not None and found.site == site else None

    async def find_by_order_number(self, site: int, number: str) -> Transaction | None:
        def work() -> Transaction | None:
            found = [
                stored for stored in self.by_id.values() if (stored.site, stored.client_order_number) == (site, number)
            ]
            return min(found, key=lambda stored: (stored.created_us, stored.id), default=None)

        first: Transaction | None = await self.interference.apply(work)
        return first

    async def save(self, transaction: Transaction) -> bool:
        def work() -> bool:
            stored = self.by_id[transaction.id]
            if stored.version != transaction.version - 1:
                return False
            self.by_id[transaction.id] = replace(transaction, due_us=stored.due_us, attempts=stored.attempts)
            self.events.append(("codes", transaction.id, transaction.version))
            if transaction.cancellations:
                self.with_uncredited.add(transaction.id)
            return True

        is_saved: bool = await self.interference.apply(work)
        return is_saved

    async def reschedule(self, transaction: Transaction, *, due_us: int) -> None:
        stored = self.by_id[transaction.id]
        if not stored.is_final:
            self.by_id[transaction.id] = replace(stored, due_us=due_us, attempts=stored.attempts + 1)

    async def claim_due(self, *, limit: int, lease_us: int) -> Sequence[str]:
        now_us = self._now_us()
        due = sorted(
            (stored.due_us, stored.id)
            for stored in self._pending()
            if not 0 < stored.due_us - now_us <= MAX_DUE_AHEAD_US
        )
        for _, due_id in due[:limit]:
            self.by_id[due_id] = replace(self.by_id[due_id], due_us=now_us + lease_us)
        return [due_id for _, due_id in due[:limit]]

    async def make_due(self, sku: str) -> None:
        for stored in self._pending():
            if any(line.sku == sku and line.pending for line in stored.lines):
                self.by_id[stored.id] = replace(stored, due_us=stored.created_us, attempts=0)

    async def count_pending(self) -> tuple[int, int | None]:
        pending = self._pending()
        return len(pending), min((stored.created_us for stored in pending), default=None)

    async def totals(self, order_id: str) -> PurchaseOrderTotals:
        merged = merge_lines([stored async for stored in self.iterate_by_purchase_order(order_id)])
        return PurchaseOrderTotals(transactions=merged.transactions, lines=merged.lines())

    async def iterate_by_purchase_order(self, order_id: str) -> AsyncIterator[Transaction]:
        def work() -> list[Transaction]:
            found = [stored for stored in self.by_id.values() if stored.purchase_order == order_id]
            return sorted(found, key=lambda stored: stored.sequence)

        found: list[Transaction] = await self.interference.apply(work)
        for transaction in found:
            yield transaction

    async def unused_sequences(self, order: PurchaseOrder) -> Sequence[int]:
        def work() -> list[int]:
            used = self.voided | self._used_sequences()
            return [number for number in range(1, order.last_sequence + 1) if (order.id, number) not in used]

        unused: list[int] = await self.interference.apply(work)
        return unused

    async def void_sequence(self, order_id: str, sequence: int) -> None:
        def work() -> None:
            if (order_id, sequence) not in self._used_sequences():
                self.voided.add((order_id, sequence))

        await self.interference.apply(work)

    async def uncredited(self) -> Mapping[str, Sequence[str]]:
        days: dict[str, set[str]] = {}
        for stored in (self.by_id[transaction_id] for transaction_id in self.with_uncredited):
            cancelled_on = {cancellation.business_date for cancellation in stored.cancellations}
            days.setdefault(stored.purchase_order, set()).update(cancelled_on)
        return {order_id: sorted(found) for order_id, found in days.items()}

    async def mark_credited(self, transaction_id: str, *, version: int) -> None:
        if self.by_id[transaction_id].version == version:
            self.with_uncredited.discard(transaction_id)

    async def find_page(self, query: TransactionQuery) -> Sequence[Transaction]:
        found = [stored for stored in self.by_id.values() if _matches(stored, query)]
        return sorted(found, key=lambda stored: (stored.created_us, stored.id), reverse=True)[: query.rows + 1]

    def _pending(self) -> list[Transaction]:
        return [stored for stored in self.by_id.values() if not stored.is_final]

    def _used_sequences(self) -> set[tuple[str, int]]:
        return {(stored.purchase_order, stored.sequence) for stored in self.by_id.values()}


class FakeStockStore:
    """`unique=False` plants a bug: a slot may be filled twice. `guarded=False`: a code may be allocated twice."""

    def __init__(self, interference: Interference, *, unique: bool = True, guarded: bool = True) -> None:
        self.available: dict[str, tuple[str, SealedCode]] = {}
        self.filled: list[tuple[FilledSlot, SealedCode | None]] = []
        self.known_digests: set[str] = set()
        self.batches: dict[str, str] = {}
        self._interference = interference
        self._unique = unique
        self._guarded = guarded

    async def load(self, sku: str, codes: Sequence[SealedCode], *, batch_id: str) -> int:
        # Of equal codes the first one is stored.
        new = {code.digest: (sku, code) for code in reversed(codes) if code.digest not in self.known_digests}
        self.available |= new
        self.known_digests |= new.keys()
        self.batches |= dict.fromkeys(new, batch_id)
        return len(new)

    async def withdraw(self, sku: str, digests: Sequence[str]) -> int:
        withdrawn = {digest for digest, (code_sku, _) in self.available.items() if code_sku == sku} & set(digests)
        self.known_digests -= withdrawn
        for digest in withdrawn:
            del self.available[digest]
        return len(withdrawn)

    async def withdraw_batch(self, sku: str, batch_id: str) -> int:
        return await self.withdraw(sku, [digest for digest, other in self.batches.items() if other == batch_id])

    async def count_available(self, sku: str) -> int:
        return sum(code_sku == sku for code_sku, _ in self.available.values())

    async def allocate(self, sku: str, slots: Sequence[str], *, now_us: int) -> Allocation:
        del now_us
        found = [code for code_sku, code in self.available.values() if code_sku == sku][: len(slots)]
        filled = 0
        for code, slot in zip(found, slots, strict=False):
            filled += await self._interference.apply(partial(self._allocate, code, slot))
        return Allocation(len(found), filled)

    def _allocate(self, code: SealedCode, slot: str) -> bool:
        if (self._guarded and code.digest not in self.available) or not self._is_empty(slot):
            return False
        self.available.pop(code.digest, None)
        self.filled.append((FilledSlot(slot, UnitStatus.COMPLETED), code))
        return True

    async def fill(self, sku: str, codes: Mapping[str, SealedCode], *, now_us: int) -> int:
        del sku, now_us
        filled = 0
        for slot, code in codes.items():
            if self._is_empty(slot) and code.digest not in self.known_digests:
                self.known_digests.add(code.digest)
                self.filled.append((FilledSlot(slot, UnitStatus.COMPLETED), code))
                filled += 1
        return filled

    async def mark_unfillable(self, slots: Sequence[str], status: UnitStatus, *, reason: str, now_us: int) -> None:
        del now_us
        for slot in slots:
            if self._is_empty(slot):
                self.filled.append((FilledSlot(slot, status, reason), None))

    async def filled_slots(self, transaction_id: str, line: int) -> Sequence[FilledSlot]:
        found: Sequence[FilledSlot] = await self._interference.apply(
            lambda: [filled for filled, _ in self.in_line(transaction_id, line)]
        )
        return found

    async def slots_with_codes(
        self, transaction_id: str, line: int | None
    ) -> Sequence[tuple[FilledSlot, SealedCode | None]]:
        return sorted(self.in_line(transaction_id, line), key=lambda entry: entry[0].slot)

    def in_line(self, transaction_id: str, line: int | None) -> list[tuple[FilledSlot, SealedCode | None]]:
        low, high = slot_range(transaction_id, line)
        return [entry for entry in self.filled if low <= entry[0].slot < high]

    def _is_empty(self, slot: str) -> bool:
        return not self._unique or all(filled.slot != slot for filled, _ in self.filled)


class FakeInvoiceStore:
    def __init__(self, interference: Interference) -> None:
        self.issued: list[Invoice] = []
        self.interference = interference

    async def last_number(self, site: int, year: int) -> int:
        number: int = await self.interference.apply(lambda: max(self._numbers(site, year), default=0))
        return number

    async def add(self, invoice: Invoice) -> InsertResult:
        def work() -> InsertResult:
            draft = invoice.draft
            if any(issued.draft.id == draft.id for issued in self.issued):
                return InsertResult.EXISTS
            if invoice.number in self._numbers(draft.customer.site, draft.year):
                return InsertResult.NUMBER_TAKEN
            self.issued.append(invoice)
            return InsertResult.INSERTED

        result: InsertResult = await self.interference.apply(work)
        return result

    async def list_by_purchase_order(self, order_id: str) -> Sequence[Invoice]:
        def work() -> list[Invoice]:
            found = (issued for issued in self.issued if issued.draft.purchase_order == order_id)
            return sorted(found, key=lambda issued: issued.draft.sequence)

        found: list[Invoice] = await self.interference.apply(work)
        return found

    async def find_page(self, query: InvoiceQuery) -> Sequence[Invoice]:
        def key(issued: Invoice) -> tuple[str, str]:
            return issued.draft.business_date, issued.draft.id

        after = None if query.after is None else (str(query.after.sort_key), query.after.id)
        found = [
            issued
            for issued in self.issued
            if issued.draft.customer.site == query.site
            and (query.from_date or "") <= issued.draft.business_date <= (query.to_date or "9")
            and (after is None or key(issued) < after)
        ]
        return sorted(found, key=key, reverse=True)[: query.rows + 1]

    async def find(self, invoice_id: str) -> Invoice | None:
        return next((issued for issued in self.issued if issued.draft.id == invoice_id), None)

    def _numbers(self, site: int, year: int) -> set[int]:
        return {
            issued.number for issued in self.issued if (issued.draft.customer.site, issued.draft.year) == (site, year)
        }


def _unique_order_number(transaction: Transaction) -> tuple[int, str] | None:
    if transaction.client_order_number is None or not transaction.has_duplicate_check:
        return None
    return transaction.site, transaction.client_order_number


def _matches(transaction: Transaction, query: TransactionQuery) -> bool:
    if transaction.site != query.site or query.transaction_id not in (None, transaction.id):
        return False
    if query.client_order_number not in (None, transaction.client_order_number):
        return False
    if query.purchase_order not in (None, transaction.purchase_order):
        return False
    if query.from_us is not None and transaction.created_us < query.from_us:
        return False
    if query.to_us is not None and transaction.created_us >= query.to_us:
        return False
    key = (transaction.created_us, transaction.id)
    return query.after is None or key < (int(query.after.sort_key), query.after.id)


def merge_lines(transactions: Iterable[Transaction]) -> LineMerger:
    """Merge the lines of these transactions."""
    merger = LineMerger()
    for transaction in transactions:
        merger.add(transaction)
    return merger
