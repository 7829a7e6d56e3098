"""Totals of a purchase order: its transactions' lines merged by product and price, exact to the last decimal."""

from collections.abc import Sequence
from decimal import Decimal

from msgspec import Struct

from services.fulfilment.domain.transaction import Transaction, TransactionLine


class LineTotals(Struct, frozen=True, kw_only=True):
    """Units of one product at one price. `charged` counts the units to pay; it is negative on a credit note."""

    sku: str
    name: str
    unit_price: Decimal
    ordered: int
    delivered: int
    cancelled: int
    charged: int

    @property
    def pending(self) -> int:
        """Units that are neither delivered nor cancelled."""
        return self.ordered - self.delivered - self.cancelled

    @property
    def amount(self) -> Decimal:
        """Price of the charged units."""
        # Adding 0 turns a negative zero, of free units on a credit note, into zero.
        return self.unit_price * self.charged + 0


class PurchaseOrderTotals(Struct, frozen=True, kw_only=True):
    """Number of transactions on a purchase order, and their merged lines."""

    transactions: int
    lines: Sequence[LineTotals]


class LineMerger:
    """Merges the lines of transactions, in order of first appearance. Units not cancelled are charged.

    With `until`, only units cancelled up to the end of that business day count as cancelled.
    """

    def __init__(self, *, until: str | None = None) -> None:
        self.transactions = 0
        self._until = until
        self._names: dict[tuple[str, Decimal], str] = {}
        self._counts: dict[tuple[str, Decimal], list[int]] = {}

    def add(self, transaction: Transaction) -> None:
        """Add a transaction."""
        self.transactions += 1
        for number, line in enumerate(transaction.lines):
            key = (line.sku, line.unit_price)
            count = self._counts.get(key)
            if count is None:
                self._names[key], count = line.name, self._counts.setdefault(key, [0, 0, 0])
            count[0] += line.quantity
            count[1] += line.delivered
            count[2] += _cancelled_units(transaction, number, line, self._until)

    def lines(self) -> list[LineTotals]:
        """Return the merged lines."""
        return [
            LineTotals(
                sku=key[0],
                name=self._names[key],
                unit_price=key[1],
                ordered=ordered,
                delivered=delivered,
                cancelled=cancelled,
                charged=ordered - cancelled,
            )
            for key, (ordered, delivered, cancelled) in self._counts.items()
        ]


def _cancelled_units(transaction: Transaction, number: int, line: TransactionLine, until: str | None) -> int:
    if until is None:
        return line.cancelled
    return sum(
        cancellation.units
        for cancellation in transaction.cancellations
        if cancellation.line == number and cancellation.business_date <= until
    )
