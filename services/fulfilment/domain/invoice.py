"""Invoices and credit notes: what a closed purchase order costs, and what was cancelled later."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

from services.fulfilment.domain.ids import derived
from services.fulfilment.domain.purchase_order import PurchaseOrder
from services.fulfilment.domain.sums import merged
from services.fulfilment.domain.transaction import Transaction


class Kind(StrEnum):
    """What sort of document it is."""

    INVOICE = "INVOICE"
    CREDIT_NOTE = "CREDIT_NOTE"


class Party(Struct, frozen=True):
    """Who is to pay, as known when the document was issued."""

    site: int
    name: str
    email: str | None = None


class BilledLine(Struct, frozen=True, kw_only=True):
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


class Draft(Struct, frozen=True, kw_only=True):
    """A document without its number. `turn` is 0 for the invoice and counts the credit notes that follow it.

    `credits` is the number of the invoice that a credit note takes from, as it is printed.
    """

    kind: Kind
    purchase_order: str
    turn: int
    business_date: str
    currency: str
    party: Party
    lines: tuple[BilledLine, ...]
    issued_us: int
    transactions: int = 0
    credits: str | None = None

    @property
    def id(self) -> str:
        """Derived: whoever issues it again, issues the same."""
        return derived("invoice", self.purchase_order, self.turn)

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

    draft: Draft
    number: int

    @property
    def label(self) -> str:
        """The number as it is printed."""
        return f"{self.draft.year}-{self.number:06d}"


def invoice(order: PurchaseOrder, transactions: Sequence[Transaction], *, party: Party, issued_us: int) -> Draft:
    """The invoice of a purchase order: its lines as ordered, less what had been cancelled by the end of its day."""
    lines = tuple(
        BilledLine(
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
        for line in merged(transactions, until=order.business_date)
    )
    return Draft(
        kind=Kind.INVOICE,
        purchase_order=order.id,
        turn=0,
        business_date=order.business_date,
        currency=order.currency,
        party=party,
        lines=lines,
        issued_us=issued_us,
        transactions=len(transactions),
    )


def credit_note(
    order: PurchaseOrder,
    transactions: Sequence[Transaction],
    issued: Sequence[Invoice],
    *,
    on: str,
    party: Party,
    issued_us: int,
) -> Draft | None:
    """What was cancelled up to the end of this day and is in none of the documents `issued` yet; None if nothing is.

    It counts from the beginning and takes off what is accounted for, so nothing can be given back twice or forgotten.
    """
    known = _accounted(issued)
    lines = []
    for line in merged(transactions, until=on):
        units = line.cancelled - known.get((line.sku, line.unit_price), 0)
        if units > 0:
            lines.append(
                BilledLine(
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
    return Draft(
        kind=Kind.CREDIT_NOTE,
        purchase_order=order.id,
        turn=len(issued),
        business_date=on,
        currency=order.currency,
        party=party,
        lines=tuple(lines),
        issued_us=issued_us,
        transactions=len(transactions),
        credits=issued[0].label if issued else None,
    )


def days_with_cancellations(transactions: Iterable[Transaction], *, since: str) -> list[str]:
    """The business days on which units were cancelled, in order; what was before `since` counts to that day."""
    return sorted({max(one.on, since) for transaction in transactions for one in transaction.cancellations})


def _accounted(issued: Iterable[Invoice]) -> dict[tuple[str, Decimal], int]:
    known: dict[tuple[str, Decimal], int] = {}
    for draft in (one.draft for one in issued):
        for line in draft.lines:
            units = line.cancelled if draft.kind is Kind.INVOICE else -line.charged
            key = (line.sku, line.unit_price)
            known[key] = known.get(key, 0) + units
    return known
