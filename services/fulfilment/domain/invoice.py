"""Invoices for closed purchase orders, and credit notes for units cancelled later."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from services.fulfilment.domain.customer import BillingDetails
from services.fulfilment.domain.ids import derive_id
from services.fulfilment.domain.purchase_order import PurchaseOrder
from services.fulfilment.domain.totals import LineMerger, LineTotals


class InvoiceKind(StrEnum):
    """Kind of document."""

    INVOICE = "INVOICE"
    CREDIT_NOTE = "CREDIT_NOTE"


class Issuer(Struct, frozen=True, kw_only=True):
    """Who issues invoices, as printed on them: where to pay, and until when, included."""

    name: str
    address: str | None = None
    tax_id: str | None = None
    bank: str | None = None
    terms: str | None = None


class InvoiceDraft(Struct, frozen=True, kw_only=True):
    """A document without its number.

    `sequence` is 0 for the invoice and counts the credit notes that follow it. `credited_invoice` is the printed number
    of the invoice that a credit note refers to.
    """

    kind: InvoiceKind
    purchase_order: str
    sequence: int
    business_date: str
    currency: str
    issuer: Issuer
    customer: BillingDetails
    lines: tuple[LineTotals, ...]
    issued_us: int
    transactions: int = 0
    credited_invoice: str | None = None

    @property
    def id(self) -> str:
        """Derived, so that issuing the document again gives the same id."""
        return invoice_id(self.purchase_order, self.sequence)

    @property
    def year(self) -> int:
        """Year of the number series."""
        return int(self.business_date[:4])

    @property
    def total(self) -> Decimal:
        """Amount to pay; negative on a credit note."""
        return sum((line.amount for line in self.lines), Decimal(0))


class Invoice(Struct, frozen=True):
    """An issued document, which never changes."""

    draft: InvoiceDraft
    number: int

    @property
    def label(self) -> str:
        """The number as printed."""
        return f"{self.draft.year}-{self.number:06d}"


def invoice_id(purchase_order_id: str, sequence: int = 0) -> str:
    """Return the id of a purchase order's invoice, or of one of its credit notes."""
    return derive_id("invoice", purchase_order_id, sequence)


def draft_invoice(
    order: PurchaseOrder, merged: LineMerger, *, issuer: Issuer, customer: BillingDetails, issued_us: int
) -> InvoiceDraft:
    """Draft the invoice of a purchase order from its transactions, merged until the end of its day."""
    return InvoiceDraft(
        kind=InvoiceKind.INVOICE,
        purchase_order=order.id,
        sequence=0,
        business_date=order.business_date,
        currency=order.currency,
        issuer=issuer,
        customer=customer,
        lines=tuple(merged.lines()),
        issued_us=issued_us,
        transactions=merged.transactions,
    )


def draft_credit_note(
    order: PurchaseOrder,
    merged: LineMerger,
    issued: Sequence[Invoice],
    *,
    business_date: str,
    issuer: Issuer,
    customer: BillingDetails,
    issued_us: int,
) -> InvoiceDraft | None:
    """Draft a credit note for units cancelled by the end of the day and in none of the `issued` documents.

    `merged` are the purchase order's transactions until that day. Returns None if there are none. All cancellations are
    counted and the credited ones subtracted, so that none is credited twice or forgotten.
    """
    credited = _credited_units(issued)
    lines = []
    for line in merged.lines():
        units = line.cancelled - credited.get((line.sku, line.unit_price), 0)
        if units > 0:
            lines.append(replace(line, charged=-units))
    if not lines:
        return None
    return InvoiceDraft(
        kind=InvoiceKind.CREDIT_NOTE,
        purchase_order=order.id,
        sequence=len(issued),
        business_date=business_date,
        currency=order.currency,
        issuer=issuer,
        customer=customer,
        lines=tuple(lines),
        issued_us=issued_us,
        transactions=merged.transactions,
        credited_invoice=issued[0].label if issued else None,
    )


def _credited_units(issued: Iterable[Invoice]) -> dict[tuple[str, Decimal], int]:
    credited: dict[tuple[str, Decimal], int] = {}
    for draft in (invoice.draft for invoice in issued):
        for line in draft.lines:
            units = line.cancelled if draft.kind is InvoiceKind.INVOICE else -line.charged
            key = (line.sku, line.unit_price)
            credited[key] = credited.get(key, 0) + units
    return credited
