"""Interfaces of the stores and peers that the flows need. A method that reaches one raises `UnavailableError`."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from enum import Enum, auto
from typing import Protocol

from services.chassis.runtime.errors import UnavailableError
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

SealCode = Callable[[str, Code], SealedCode]


class InsertResult(Enum):
    """Outcome of an insert under unique keys."""

    INSERTED = auto()
    EXISTS = auto()  # one with the same id
    NUMBER_TAKEN = auto()  # another one with the same number
    SEQUENCE_TAKEN = auto()  # the purchase order was closed in the meantime


class CustomerNotConfiguredError(UnavailableError):
    """The customer of stored data is not, or no longer, configured: retry once it is."""

    state = "missing"

    def __init__(self) -> None:
        super().__init__("the customer's configuration")


class Customers(Protocol):
    """The customers as configured now."""

    def get(self, site: int) -> Customer | None:
        """Return the customer; None if it is unknown."""


def get_customer(customers: Customers, site: int) -> Customer:
    """Return the customer; raises `CustomerNotConfiguredError`."""
    customer = customers.get(site)
    if customer is None:
        raise CustomerNotConfiguredError
    return customer


class ProductStore(Protocol):
    """Products by SKU."""

    async def find(self, skus: Iterable[str]) -> Mapping[str, Product]:
        """Return the known ones of the products, withdrawn ones included."""

    async def put(self, product: Product) -> bool:
        """Add or replace a product; returns whether it is new. Existing orders keep it as it was ordered."""


class StockStore(Protocol):
    """Available codes, and the slots of units. A slot is filled at most once."""

    async def load(self, sku: str, codes: Sequence[SealedCode], *, batch_id: str) -> int:
        """Make codes available; returns how many are new. Loading them again changes nothing."""

    async def withdraw(self, sku: str, digests: Sequence[str]) -> int:
        """Remove those of the codes that are available; returns how many."""

    async def withdraw_batch(self, sku: str, batch_id: str) -> int:
        """Remove the batch's codes that are available; returns how many."""

    async def allocate(self, sku: str, slots: Sequence[str], *, now_us: int) -> Allocation:
        """Fill the slots with available codes, one each, as far as there are any."""

    async def fill(self, sku: str, codes: Mapping[str, SealedCode], *, now_us: int) -> int:
        """Fill empty slots with the codes supplied for them; returns how many were filled."""

    async def mark_unfillable(self, slots: Sequence[str], status: UnitStatus, *, reason: str, now_us: int) -> None:
        """Fill empty slots with the reason why no code comes."""

    async def filled_slots(self, transaction_id: str, line: int) -> Sequence[FilledSlot]:
        """Return the filled slots of a line, as a majority of the replica set has them."""

    async def slots_with_codes(
        self, transaction_id: str, line: int | None
    ) -> Sequence[tuple[FilledSlot, SealedCode | None]]:
        """Return the filled slots in order, with their codes, as a majority of the replica set has them."""


class PurchaseOrderStore(Protocol):
    """Purchase orders."""

    async def reserve_sequence(self, order: PurchaseOrder) -> int | None:
        """Reserve the next sequence number, creating the purchase order if needed; None if it is not open."""

    async def find(self, order_id: str) -> PurchaseOrder | None:
        """Return the purchase order."""

    async def list_by_day(self, site: int, day: str) -> Sequence[PurchaseOrder]:
        """Return the customer's purchase orders of one day."""

    async def unclosed(self, *, until: str) -> Sequence[PurchaseOrder]:
        """Return the purchase orders of days up to `until` that are not closed, oldest first."""

    async def begin_closing(self, order_id: str) -> PurchaseOrder | None:
        """Stop it from accepting transactions and return it; None if it is closed already."""

    async def finish_closing(self, order_id: str) -> None:
        """Mark it as closed, once it has its invoice or needs none."""


class TransactionReader(Protocol):
    """Transactions as a majority of the replica set has them."""

    async def find_for_site(self, site: int, transaction_id: str) -> Transaction | None:
        """Return the customer's transaction."""

    async def find_page(self, query: TransactionQuery) -> Sequence[Transaction]:
        """Return a page and one more row, newest first."""

    async def totals(self, order_id: str) -> PurchaseOrderTotals:
        """Return the totals of a purchase order."""


class TransactionStore(TransactionReader, Protocol):
    """Transactions; each change is stored together with its event."""

    async def add(self, transaction: Transaction) -> InsertResult:
        """Store a new transaction durably, with the event that it was placed."""

    async def find(self, transaction_id: str) -> Transaction | None:
        """Return the transaction."""

    async def find_by_order_number(self, site: int, number: str) -> Transaction | None:
        """Return the customer's first transaction with this number, as a majority of the replica set has it."""

    async def save(self, transaction: Transaction) -> bool:
        """Store new counts with their event; False unless the stored version is the one before."""

    async def reschedule(self, transaction: Transaction, *, due_us: int) -> None:
        """Set when a pending transaction is due again."""

    async def make_due(self, sku: str) -> None:
        """Make the transactions due that wait for this product, the oldest first."""

    async def claim_due(self, *, limit: int, lease_us: int) -> Sequence[str]:
        """Return the ids of due transactions; no other claim returns them until the lease expires."""

    async def count_pending(self) -> tuple[int, int | None]:
        """Return the number of pending transactions, and when the oldest was created."""

    def iterate_by_purchase_order(self, order_id: str) -> AsyncIterator[Transaction]:
        """Yield all transactions of a purchase order by sequence, as a majority of the replica set has them."""

    async def unused_sequences(self, order: PurchaseOrder) -> Sequence[int]:
        """Return reserved sequence numbers under which a majority of the replica set has nothing."""

    async def void_sequence(self, order_id: str, sequence: int) -> None:
        """Prevent any transaction from being stored under the sequence number, unless one is."""

    async def uncredited(self) -> Mapping[str, Sequence[str]]:
        """Return the ids of purchase orders with uncredited cancellations, and the days of these."""

    async def mark_credited(self, transaction_id: str, *, version: int) -> None:
        """Mark the cancellations as credited, unless the stored version is a later one."""


class InvoiceStore(Protocol):
    """Invoices and credit notes as a majority of the replica set has them; each is stored with its event and mail."""

    async def last_number(self, site: int, year: int) -> int:
        """Return the highest number of the series; 0 if it is empty."""

    async def add(self, invoice: Invoice) -> InsertResult:
        """Store it durably."""

    async def list_by_purchase_order(self, order_id: str) -> Sequence[Invoice]:
        """Return a purchase order's documents by sequence."""

    async def find_page(self, query: InvoiceQuery) -> Sequence[Invoice]:
        """Return a page and one more row, newest first."""

    async def find(self, invoice_id: str) -> Invoice | None:
        """Return the document."""


class Supplier(Protocol):
    """A source of codes."""

    async def supply(self, request: SupplyRequest) -> SupplyResult:
        """Fill as many of the slots as possible, each at most once, durably. Repeating a request is safe."""


class InvoiceRenderer(Protocol):
    """Renders invoices and credit notes."""

    def html(self, invoice: Invoice) -> str:
        """Return a self-contained HTML page."""

    def text(self, invoice: Invoice) -> str:
        """Return plain text."""

    def pdf(self, invoice: Invoice) -> bytes:
        """Return a PDF document; the same invoice gives the same bytes."""
