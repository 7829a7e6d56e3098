"""A transaction: one accepted order of codes, and its delivery so far."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

# Due times are at most a minute ahead. One further ahead was set by a clock that was wrong, and counts as due.
MAX_DUE_AHEAD_US = 120_000_000


class TransactionStatus(StrEnum):
    """State of a transaction; all but the first are final."""

    PROCESSING = "PROCESSING"
    PARTIALLY_COMPLETED = "PARTIALLY_COMPLETED"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"


class TransactionLine(Struct, frozen=True, kw_only=True):
    """Units of one product, with a copy of the product as ordered, and how many were delivered and cancelled."""

    sku: str
    name: str
    quantity: int
    unit_price: Decimal
    supplier: str
    delivered: int = 0
    cancelled: int = 0

    @property
    def pending(self) -> int:
        """Units that are neither delivered nor cancelled."""
        return self.quantity - self.delivered - self.cancelled

    @property
    def amount(self) -> Decimal:
        """Price of the line as ordered."""
        return self.unit_price * self.quantity


class Cancellation(Struct, frozen=True):
    """Units of a line that were found cancelled on a business day."""

    business_date: str
    line: int
    units: int


class Tally(Struct, frozen=True):
    """Number of a line's slots that are filled by a code, and by a reason."""

    delivered: int
    cancelled: int


class Transaction(Struct, frozen=True, kw_only=True):
    """One accepted order of codes. Times are microseconds since 1970; `version` counts the changes of its counts.

    `sequence` is its unique number on `purchase_order`; `traceparent` belongs to the request that placed the order.
    """

    id: str
    site: int
    client_id: str
    client_order_number: str | None
    has_duplicate_check: bool
    currency: str
    lines: tuple[TransactionLine, ...]
    purchase_order: str
    sequence: int
    business_date: str
    created_us: int
    deadline_us: int
    due_us: int
    status: TransactionStatus = TransactionStatus.PROCESSING
    version: int = 0
    attempts: int = 0
    cancellations: tuple[Cancellation, ...] = ()
    traceparent: str | None = None

    @property
    def is_final(self) -> bool:
        """Whether the transaction no longer changes."""
        return self.status is not TransactionStatus.PROCESSING

    @property
    def quantities(self) -> Mapping[str, int]:
        """Ordered units by SKU."""
        return {line.sku: line.quantity for line in self.lines}

    @property
    def total(self) -> Decimal:
        """Price of the transaction as ordered."""
        return sum((line.amount for line in self.lines), Decimal(0))


def derive_status(lines: Sequence[TransactionLine]) -> TransactionStatus:
    """Return the status that follows from the counts."""
    if any(line.pending for line in lines):
        return TransactionStatus.PROCESSING
    delivered, ordered = sum(line.delivered for line in lines), sum(line.quantity for line in lines)
    if delivered == ordered:
        return TransactionStatus.COMPLETED
    return TransactionStatus.PARTIALLY_COMPLETED if delivered else TransactionStatus.CANCELLED


def apply_tallies(transaction: Transaction, tallies: Mapping[int, Tally], *, business_date: str) -> Transaction:
    """Return the transaction with the new counts of its lines; the same object if no count is new.

    Counts only grow: one lower than the stored one is ignored. New cancellations belong to `business_date`.
    """
    lines = list(transaction.lines)
    cancelled_units = {(entry.business_date, entry.line): entry.units for entry in transaction.cancellations}
    for number, tally in tallies.items():
        line = lines[number]
        delivered, cancelled = max(tally.delivered, line.delivered), max(tally.cancelled, line.cancelled)
        if cancelled > line.cancelled:
            key = (business_date, number)
            cancelled_units[key] = cancelled_units.get(key, 0) + cancelled - line.cancelled
        lines[number] = replace(line, delivered=delivered, cancelled=cancelled)
    if tuple(lines) == transaction.lines:
        return transaction
    return replace(
        transaction,
        lines=tuple(lines),
        status=derive_status(lines),
        version=transaction.version + 1,
        cancellations=tuple(Cancellation(day, line, units) for (day, line), units in cancelled_units.items()),
    )
