"""What the flows need from the world. Every call that reaches a store raises `Away` when it does not answer."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum, auto
from typing import Protocol

from services.fulfilment.domain.code import Code, SealedCode
from services.fulfilment.domain.customer import Customer
from services.fulfilment.domain.invoice import Invoice
from services.fulfilment.domain.listing import InvoiceQuery, TransactionQuery
from services.fulfilment.domain.product import Product
from services.fulfilment.domain.purchase_order import PurchaseOrder
from services.fulfilment.domain.slots import FilledSlot, UnitStatus
from services.fulfilment.domain.supply import Allocation, SupplyRequest, SupplyResult
from services.fulfilment.domain.totals import PurchaseOrderTotals
from services.fulfilment.domain.transaction import Transaction


class InsertResult(Enum):
    """What came of adding something that must be there once."""

    INSERTED = auto()
    EXISTS = auto()  # the very same, by its id
    NUMBER_TAKEN = auto()  # another one with this number
    SEQUENCE_TAKEN = auto()  # the purchase order was closed before it got there


class Customers(Protocol):
    """Knows the customers."""

    def get(self, site: int) -> Customer | None:
        """The customer as configured now."""
        ...


class ProductStore(Protocol):
    """Keeps products."""

    async def find(self, skus: Iterable[str]) -> Mapping[str, Product]:
        """Those of them that there are, withdrawn ones too."""
        ...


class Shelf(ProductStore, Protocol):
    """Keeps products, and takes new ones."""

    async def put(self, product: Product) -> bool:
        """Add or change a product; returns whether it is new."""
        ...


class Loading(Protocol):
    """Takes codes."""

    async def load(self, sku: str, codes: Sequence[SealedCode]) -> int:
        """Put codes on sale; returns how many are new."""
        ...


class Waking(Protocol):
    """Knows who waits."""

    async def make_due(self, sku: str) -> None:
        """Let those be looked at soon who wait for this product."""
        ...


Seal = Callable[[str, Code], SealedCode]


class PurchaseOrderStore(Protocol):
    """Keeps purchase orders."""

    async def reserve_sequence(self, order: PurchaseOrder) -> int | None:
        """A place on it, opening it if need be; None if it takes no more."""
        ...

    async def find(self, order_id: str) -> PurchaseOrder | None:
        """The purchase order."""
        ...

    async def unclosed(self, *, until: str) -> Sequence[PurchaseOrder]:
        """All that are not closed and whose day is not after `until`, oldest first."""
        ...

    async def begin_closing(self, order_id: str) -> PurchaseOrder | None:
        """Let it take no more; the purchase order as it is from now on, None if it is closed already."""
        ...

    async def finish_closing(self, order_id: str) -> None:
        """It has its invoice, or needs none."""
        ...


class ShownTransactions(Protocol):
    """Shows a customer's transactions."""

    async def find_for_site(self, site: int, transaction_id: str) -> Transaction | None:
        """The customer's transaction, as a majority has it."""
        ...


class TransactionStore(ShownTransactions, Protocol):
    """Keeps transactions, each change together with the event that tells of it."""

    async def add(self, transaction: Transaction) -> InsertResult:
        """Store it, durably, with the event that it was placed."""
        ...

    async def find(self, transaction_id: str) -> Transaction | None:
        """The transaction."""
        ...

    async def find_by_order_number(self, site: int, number: str) -> Transaction | None:
        """The customer's first one with this order number, as a majority has it."""
        ...

    async def save(self, transaction: Transaction) -> bool:
        """Store new counts with their event; False if another version than the one before it is stored."""
        ...

    async def reschedule(self, transaction: Transaction, *, due_us: int) -> None:
        """Look at it again then."""
        ...

    async def list_by_purchase_order(self, order_id: str) -> Sequence[Transaction]:
        """All transactions of a purchase order, by their places."""
        ...

    async def unused_sequences(self, order: PurchaseOrder) -> Sequence[int]:
        """Places that were given and on which nothing stands."""
        ...

    async def void_sequence(self, order_id: str, sequence: int) -> None:
        """Let nothing stand on this place any more, unless something does."""
        ...

    async def uncredited(self) -> Mapping[str, Sequence[str]]:
        """Purchase orders with cancellations that are not accounted for, and the days of these."""
        ...

    async def mark_credited(self, transaction: Transaction) -> None:
        """Its cancellations, as far as this version knows them, are all accounted for."""
        ...


class Slots(Protocol):
    """Keeps what fills the units' places. A place is filled once."""

    async def filled_slots(self, transaction_id: str, line: int) -> Sequence[FilledSlot]:
        """What fills the places of a line."""
        ...

    async def mark_unfillable(self, slots: Sequence[str], status: UnitStatus, *, reason: str, now_us: int) -> None:
        """Fill those of the places that are free with the reason why no code comes."""
        ...


class Supplier(Protocol):
    """Where codes come from."""

    async def supply(self, request: SupplyRequest) -> SupplyResult:
        """Fill as many of the units' places as it can, each at most once, durably.

        Asking again is safe. Raises `Away` when the supplier does not answer.
        """
        ...


class OnSale(Protocol):
    """Codes that anybody may take, and the places that they fill."""

    async def allocate(self, sku: str, slots: Sequence[str], *, now_us: int) -> Allocation:
        """Let codes that are for sale fill these places, as far as there are any; one each."""
        ...

    async def filled_slots(self, transaction_id: str, line: int) -> Sequence[FilledSlot]:
        """What fills the places of a line."""
        ...


class Binding(Protocol):
    """Takes codes that come for certain places."""

    async def fill(self, sku: str, codes: Mapping[str, SealedCode], *, now_us: int) -> int:
        """Let them fill their places where nothing does; returns how many do."""
        ...


class AuditLog(Protocol):
    """Remembers who did what."""

    def record(self, action: str, *, actor: str, source: str, **details: object) -> None:
        """Leave a line; no code, secret or personal data in it."""
        ...


class Disclosed(Protocol):
    """Reads what fills the places, codes included."""

    async def slots_with_codes(
        self, transaction_id: str, line: int | None
    ) -> Sequence[tuple[FilledSlot, SealedCode | None]]:
        """What fills the places, in order, as a majority has it."""
        ...


class InvoiceStore(Protocol):
    """Keeps invoices and credit notes, each with its event and its mail."""

    async def last_number(self, site: int, year: int) -> int:
        """The greatest number of the series; 0 if it has none."""
        ...

    async def add(self, invoice: Invoice) -> InsertResult:
        """Store it, durably."""
        ...

    async def list_by_purchase_order(self, order_id: str) -> Sequence[Invoice]:
        """What was issued for a purchase order, in turn."""
        ...


class ShownInvoices(Protocol):
    """Shows a customer's invoices and credit notes."""

    async def find_page(self, query: InvoiceQuery) -> Sequence[Invoice]:
        """A page and one more, newest first."""
        ...

    async def find(self, invoice_id: str) -> Invoice | None:
        """The document."""
        ...


class InvoiceRenderer(Protocol):
    """Prints invoices and credit notes."""

    def html(self, invoice: Invoice) -> str:
        """As a page."""
        ...

    def text(self, invoice: Invoice) -> str:
        """As plain text."""
        ...

    def pdf(self, invoice: Invoice) -> bytes:
        """As a PDF document."""
        ...


class ListedTransactions(Protocol):
    """Lists transactions, and adds them up."""

    async def find_page(self, query: TransactionQuery) -> Sequence[Transaction]:
        """A page and one more, newest first."""
        ...

    async def totals(self, order_id: str) -> PurchaseOrderTotals:
        """What stands on a purchase order, as a majority has it."""
        ...


class ShownPurchaseOrders(Protocol):
    """Shows purchase orders."""

    async def find(self, order_id: str) -> PurchaseOrder | None:
        """The purchase order."""
        ...

    async def list_by_day(self, site: int, day: str) -> Sequence[PurchaseOrder]:
        """The customer's purchase orders of one day."""
        ...
