"""A purchase order: all transactions of one customer, one business day and one currency."""

from datetime import date
from enum import StrEnum

from msgspec import Struct

from services.fulfilment.domain.ids import derive_id


class PurchaseOrderState(StrEnum):
    """Only an open purchase order accepts transactions; a closing one awaits its invoice."""

    OPEN = "OPEN"
    CLOSING = "CLOSING"
    CLOSED = "CLOSED"


class PurchaseOrder(Struct, frozen=True, kw_only=True):
    """A day's purchase order. `last_sequence` is the last sequence number reserved for a transaction."""

    site: int
    business_date: str
    currency: str
    state: PurchaseOrderState = PurchaseOrderState.OPEN
    last_sequence: int = 0

    @property
    def id(self) -> str:
        """Derived, so that two concurrent first orders of a day share one purchase order."""
        return derive_id("purchase-order", self.site, self.business_date, self.currency)

    @property
    def day(self) -> date:
        """The business date."""
        return date.fromisoformat(self.business_date)
