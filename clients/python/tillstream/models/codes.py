"""Orders of codes, purchase orders and invoices."""

from datetime import date, datetime
from decimal import Decimal

from msgspec import field

from tillstream.models.base import Model


class Counts(Model, frozen=True):
    """How many ordered units came to what."""

    ordered: int
    delivered: int
    pending: int
    cancelled: int


class PurchaseOrderRef(Model, frozen=True):
    """The purchase order of the day that a transaction belongs to."""

    id: str
    business_date: date
    currency: str


class OrderedLine(Model, frozen=True):
    """One product of an order, at the price of the day."""

    sku: str
    name: str
    quantity: int
    unit_price: Decimal
    amount: Decimal


class TransactionLine(OrderedLine, frozen=True):
    """One product of a transaction with its progress."""

    ordered: int
    delivered: int
    pending: int
    cancelled: int


class _Order(Model, frozen=True):
    transaction_id: str
    client_order_number: str | None
    purchase_order: PurchaseOrderRef
    status: str
    created_at: datetime


class PlacedOrder(_Order, frozen=True):
    """An accepted order of codes; `duplicate` if the same order had been placed before."""

    lines: list[OrderedLine]
    duplicate: bool = False


class Transaction(_Order, frozen=True):
    """An order of codes with its progress."""

    lines: list[TransactionLine]
    counts: Counts
    total: Decimal
    deadline: datetime


class Unit(Model, frozen=True):
    """One ordered unit; a delivered one has a code. The code is not in its `repr`."""

    stock_id: str
    status: str
    redeem_code: str | None = None
    pin_code: str | None = None
    reason: str | None = None

    def __repr__(self) -> str:
        return f"Unit(stock_id={self.stock_id!r}, status={self.status!r})"


class SkuCodes(Model, frozen=True):
    """The units of one product."""

    sku: str
    codes: list[Unit]


class Codes(Model, frozen=True):
    """The units of a transaction as far as they are delivered; `next_poll_after` while more are to come."""

    transaction_id: str
    status: str
    counts: Counts
    codes: list[SkuCodes]
    next_poll_after: datetime | None = None

    @property
    def is_complete(self) -> bool:
        """Whether no unit is pending any more."""
        return self.status != "PROCESSING"


class MergedLine(Counts, frozen=True):
    """A product on a purchase order or an invoice, all transactions together."""

    sku: str
    name: str
    unit_price: Decimal
    amount: Decimal
    quantity: int | None = None


class Totals(Counts, frozen=True):
    """The sums of a purchase order."""

    transactions: int
    amount: Decimal


class PurchaseOrder(Model, frozen=True):
    """All orders of a day in one currency; `transactions` are those of the requested page."""

    id: str
    business_date: date
    currency: str
    state: str
    lines: list[MergedLine]
    totals: Totals
    transactions: list[Transaction] = field(default_factory=list)
    invoice_id: str | None = None


class Party(Model, frozen=True):
    """Issuer or customer of an invoice."""

    name: str
    address: str | None = None
    tax_id: str | None = None
    site: int | None = None
    bank: str | None = None
    terms: str | None = None


class Invoice(Model, frozen=True):
    """An invoice or a credit note."""

    id: str
    kind: str
    number: str
    purchase_order_id: str
    business_date: date
    currency: str
    issuer: Party
    customer: Party
    transactions: int
    lines: list[MergedLine]
    total: Decimal
    issued_at: datetime
    credit_for: str | None = None


class Product(Model, frozen=True):
    """A product that codes are sold of."""

    sku: str
    name: str
    unit_price: Decimal
    currency: str
    supplier: str
    withdrawn: bool = False


class LoadedCodes(Model, frozen=True):
    """What loading codes came to: `known` ones had been loaded before."""

    sku: str
    received: int
    added: int
    known: int
    batch_id: str
