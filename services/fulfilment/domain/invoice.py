"""Invoices and credit notes: what a closed purchase order costs, and what was cancelled later."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

from services.fulfilment.domain.ids import derive_id
from services.fulfilment.domain.purchase_order import PurchaseOrder
from services.fulfilment.domain.totals import merge_lines
from services.fulfilment.domain.transaction import Transaction


class InvoiceKind(StrEnum):
    """What sort of document it is."""

    INVOICE = "INVOICE"
    CREDIT_NOTE = "CREDIT_NOTE"


class BillingDetails(Struct, frozen=True):
    """Who is to pay, as known when the document was issued."""

    site: int
    name: str
    email: str | None = None


class InvoiceLine(Struct, frozen=True, kw_only=True):
    """One line. `amount` is the price of the units in `charged`; both are negative on a credit note."""

    sku: str
    name: str
    unit_price: Decimal
    ordered: int
    delivered: int
    pending: int
    cancelled: int
    charged: int
    amount: Decimal


class InvoiceDraft(Struct, frozen=True, kw_only=True):
    """A document without its number. `turn` is 0 for the invoice and counts the credit notes that follow it.

    `credits` is the number of the invoice that a credit note takes from, as it is printed.
    """

    kind: InvoiceKind
    purchase_order: str
    sequence: int
    business_date: str
    currency: str
    customer: BillingDetails
    lines: tuple[InvoiceLine, ...]
    issued_us: int
    transactions: int = 0
    credited_invoice: str | None = None

    @property
    def id(self) -> str:
        """Derived: whoever issues it again, issues the same."""
        return derive_id("invoice", self.purchase_order, self.sequence)

    @property
    def year(self) -> int:
        """The year in whose series it is numbered."""
        return int(self.business_date[:4])

    @property
    def total(self) -> Decimal:
        """What is to be paid; negative where it is given back."""
        return sum((line.amount for line in self.lines), Decimal(0))


class Invoice(Struct, frozen=True):
    """An issued document: it never changes."""

    draft: InvoiceDraft
    number: int

    @property
    def label(self) -> str:
        """The number as it is printed."""
        return f"{self.draft.year}-{self.number:06d}"


def draft_invoice(
    order: PurchaseOrder, transactions: Sequence[Transaction], *, customer: BillingDetails, issued_us: int
) -> InvoiceDraft:
    """The invoice of a purchase order: its lines as ordered, less what had been cancelled by the end of its day."""
    lines = tuple(
        InvoiceLine(
            sku=line.sku,
            name=line.name,
            unit_price=line.unit_price,
            ordered=line.ordered,
            delivered=line.delivered,
            pending=line.pending,
            cancelled=line.cancelled,
            charged=line.charged,
            amount=line.amount,
        )
        for line in merge_lines(transactions, until=order.business_date)
    )
    return InvoiceDraft(
        kind=InvoiceKind.INVOICE,
        purchase_order=order.id,
        sequence=0,
        business_date=order.business_date,
        currency=order.currency,
        customer=customer,
        lines=lines,
        issued_us=issued_us,
        transactions=len(transactions),
    )


def draft_credit_note(
    order: PurchaseOrder,
    transactions: Sequence[Transaction],
    issued: Sequence[Invoice],
    *,
    business_date: str,
    customer: BillingDetails,
    issued_us: int,
) -> InvoiceDraft | None:
    """What was cancelled up to the end of this day and is in none of the documents `issued` yet; None if nothing is.

    It counts from the beginning and takes off what is accounted for, so nothing can be given back twice or forgotten.
    """
    known = _credited_units(issued)
    lines = []
    for line in merge_lines(transactions, until=business_date):
        units = line.cancelled - known.get((line.sku, line.unit_price), 0)
        if units > 0:
            lines.append(
                InvoiceLine(
                    sku=line.sku,
                    name=line.name,
                    unit_price=line.unit_price,
                    ordered=line.ordered,
                    delivered=line.delivered,
                    pending=line.pending,
                    cancelled=line.cancelled,
                    charged=-units,
                    amount=-(line.unit_price * units),
                )
            )
    if not lines:
        return None
    return InvoiceDraft(
        kind=InvoiceKind.CREDIT_NOTE,
        purchase_order=order.id,
        sequence=len(issued),
        business_date=business_date,
        currency=order.currency,
        customer=customer,
        lines=tuple(lines),
        issued_us=issued_us,
        transactions=len(transactions),
        credited_invoice=issued[0].label if issued else None,
    )


def days_with_cancellations(transactions: Iterable[Transaction], *, since: str) -> list[str]:
    """The business days on which units were cancelled, in order; what was before `since` counts to that day."""
    return sorted({max(one.business_date, since) for transaction in transactions for one in transaction.cancellations})


def _credited_units(issued: Iterable[Invoice]) -> dict[tuple[str, Decimal], int]:
    known: dict[tuple[str, Decimal], int] = {}
    for draft in (one.draft for one in issued):
        for line in draft.lines:
            units = line.cancelled if draft.kind is InvoiceKind.INVOICE else -line.charged
            key = (line.sku, line.unit_price)
            known[key] = known.get(key, 0) + units
    return known
