"""A transaction: one request for codes, whole, and how far it has come."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace


class Status(StrEnum):
    """How far a transaction has come; all but the first are final."""

    PROCESSING = "PROCESSING"
    PARTIALLY_COMPLETED = "PARTIALLY_COMPLETED"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"


class Line(Struct, frozen=True, kw_only=True):
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

    on: str
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
    is_checked: bool
    currency: str
    lines: tuple[Line, ...]
    purchase_order: str
    place: int
    business_date: str
    created_us: int
    deadline_us: int
    due_us: int
    status: Status = Status.PROCESSING
    version: int = 0
    tries: int = 0
    cancellations: tuple[Cancellation, ...] = ()
    traceparent: str | None = None

    @property
    def is_final(self) -> bool:
        """Whether nothing changes any more."""
        return self.status is not Status.PROCESSING

    @property
    def quantities(self) -> Mapping[str, int]:
        """How many units of which product."""
        return {line.sku: line.quantity for line in self.lines}

    @property
    def total(self) -> Decimal:
        """What it costs as it was ordered."""
        return sum((line.amount for line in self.lines), Decimal(0))


def status_of(lines: Sequence[Line]) -> Status:
    """The status that follows from the counts."""
    if any(line.pending for line in lines):
        return Status.PROCESSING
    delivered, ordered = sum(line.delivered for line in lines), sum(line.quantity for line in lines)
    if delivered == ordered:
        return Status.COMPLETED
    return Status.PARTIALLY_COMPLETED if delivered else Status.CANCELLED


def counted(transaction: Transaction, tallies: Mapping[int, Tally], *, on: str) -> Transaction:
    """The transaction with these counts of its lines, `on` being the customer's day; itself if none is new.

    Counts only grow: an older count than the one that is known changes nothing.
    """
    lines = list(transaction.lines)
    cancellations = {(one.on, one.line): one.units for one in transaction.cancellations}
    for number, tally in tallies.items():
        line = lines[number]
        delivered, cancelled = max(tally.delivered, line.delivered), max(tally.cancelled, line.cancelled)
        if cancelled > line.cancelled:
            cancellations[on, number] = cancellations.get((on, number), 0) + cancelled - line.cancelled
        lines[number] = replace(line, delivered=delivered, cancelled=cancelled)
    if tuple(lines) == transaction.lines:
        return transaction
    return replace(
        transaction,
        lines=tuple(lines),
        status=status_of(lines),
        version=transaction.version + 1,
        cancellations=tuple(Cancellation(day, line, units) for (day, line), units in cancellations.items()),
    )
