"""All transactions of one customer on one day and in one currency."""

from datetime import date
from enum import StrEnum

from msgspec import Struct

from services.fulfilment.domain.ids import derive_id


class PurchaseOrderState(StrEnum):
    """Whether transactions may still be added. One that is closing takes no more and waits for its invoice."""

    OPEN = "OPEN"
    CLOSING = "CLOSING"
    CLOSED = "CLOSED"


class PurchaseOrder(Struct, frozen=True, kw_only=True):
    """A day's purchase order. `places` counts the transactions that were given a place on it."""

    site: int
    business_date: str
    currency: str
    state: PurchaseOrderState = PurchaseOrderState.OPEN
    last_sequence: int = 0

    @property
    def id(self) -> str:
        """Derived: two first orders of a day make one purchase order."""
        return derive_id("purchase-order", self.site, self.business_date, self.currency)

    @property
    def day(self) -> date:
        """The business date."""
        return date.fromisoformat(self.business_date)
