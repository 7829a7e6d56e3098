"""Transactions' lines merged by product and price, and their sums: exact to the last decimal."""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from msgspec import Struct

from services.fulfilment.domain.transaction import Transaction, TransactionLine


class OrderLineTotals(Struct, kw_only=True):
    """What a purchase order has of one product at one price, while it is being counted."""

    sku: str
    name: str
    unit_price: Decimal
    ordered: int = 0
    delivered: int = 0
    cancelled: int = 0

    @property
    def pending(self) -> int:
        """Units of which nothing can be said yet."""
        return self.ordered - self.delivered - self.cancelled

    @property
    def charged(self) -> int:
        """Units that are paid for: those that came or may still come."""
        return self.ordered - self.cancelled

    @property
    def amount(self) -> Decimal:
        """What they cost."""
        return self.unit_price * self.charged


class PurchaseOrderTotals(Struct, frozen=True, kw_only=True):
    """What stands on a purchase order: how many transactions, and their lines merged."""

    transactions: int
    lines: Sequence[OrderLineTotals]


def merge_lines(transactions: Iterable[Transaction], *, until: str | None = None) -> list[OrderLineTotals]:
    """The lines of all transactions, in order of their first appearance.

    With `until`, only what was cancelled up to the end of that business day counts as cancelled.
    """
    found: dict[tuple[str, Decimal], OrderLineTotals] = {}
    for transaction in transactions:
        for number, line in enumerate(transaction.lines):
            key = (line.sku, line.unit_price)
            sum_ = found.get(key)
            if sum_ is None:
                sum_ = found[key] = OrderLineTotals(sku=line.sku, name=line.name, unit_price=line.unit_price)
            sum_.ordered += line.quantity
            sum_.delivered += line.delivered
            sum_.cancelled += _cancelled(transaction, number, line, until)
    return list(found.values())


def _cancelled(transaction: Transaction, number: int, line: TransactionLine, until: str | None) -> int:
    if until is None:
        return line.cancelled
    return sum(one.units for one in transaction.cancellations if one.line == number and one.business_date <= until)
