"""A transaction: one request for codes, whole, and how far it has come."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace


class TransactionStatus(StrEnum):
    """How far a transaction has come; all but the first are final."""

    PROCESSING = "PROCESSING"
    PARTIALLY_COMPLETED = "PARTIALLY_COMPLETED"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"


class TransactionLine(Struct, frozen=True, kw_only=True):
    """So many units of one product, with what the product was when it was ordered, and what became of them."""

    sku: str
    name: str
    quantity: int
    unit_price: Decimal
    supplier: str
    delivered: int = 0
    cancelled: int = 0

    @property
    def pending(self) -> int:
        """Units of which nothing can be said yet."""
        return self.quantity - self.delivered - self.cancelled

    @property
    def amount(self) -> Decimal:
        """What the line costs as it was ordered."""
        return self.unit_price * self.quantity


class Cancellation(Struct, frozen=True):
    """So many units of a line were found cancelled on this business day."""

    business_date: str
    line: int
    units: int


class Tally(Struct, frozen=True):
    """How many of a line's units are filled, by a code or by a reason."""

    delivered: int
    cancelled: int


class Transaction(Struct, frozen=True, kw_only=True):
    """One accepted order of codes. Times are microseconds since 1970; `version` counts what readers can see change.

    `purchase_order` and `place` say where it stands: no two share a place. `traceparent` is of the request that placed
    it.
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
        """Whether nothing changes any more."""
        return self.status is not TransactionStatus.PROCESSING

    @property
    def quantities(self) -> Mapping[str, int]:
        """How many units of which product."""
        return {line.sku: line.quantity for line in self.lines}

    @property
    def total(self) -> Decimal:
        """What it costs as it was ordered."""
        return sum((line.amount for line in self.lines), Decimal(0))


def derive_status(lines: Sequence[TransactionLine]) -> TransactionStatus:
    """The status that follows from the counts."""
    if any(line.pending for line in lines):
        return TransactionStatus.PROCESSING
    delivered, ordered = sum(line.delivered for line in lines), sum(line.quantity for line in lines)
    if delivered == ordered:
        return TransactionStatus.COMPLETED
    return TransactionStatus.PARTIALLY_COMPLETED if delivered else TransactionStatus.CANCELLED


def apply_tallies(transaction: Transaction, tallies: Mapping[int, Tally], *, business_date: str) -> Transaction:
    """The transaction with these counts of its lines, `on` being the customer's day; itself if none is new.

    Counts only grow: an older count than the one that is known changes nothing.
    """
    lines = list(transaction.lines)
    cancellations = {(one.business_date, one.line): one.units for one in transaction.cancellations}
    for number, tally in tallies.items():
        line = lines[number]
        delivered, cancelled = max(tally.delivered, line.delivered), max(tally.cancelled, line.cancelled)
        if cancelled > line.cancelled:
            cancellations[business_date, number] = (
                cancellations.get((business_date, number), 0) + cancelled - line.cancelled
            )
        lines[number] = replace(line, delivered=delivered, cancelled=cancelled)
    if tuple(lines) == transaction.lines:
        return transaction
    return replace(
        transaction,
        lines=tuple(lines),
        status=derive_status(lines),
        version=transaction.version + 1,
        cancellations=tuple(Cancellation(day, line, units) for (day, line), units in cancellations.items()),
    )
