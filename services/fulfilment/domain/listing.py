"""Queries for pages of a customer's transactions and invoices, newest first."""

from typing import ClassVar, NamedTuple

from msgspec import Struct

from services.fulfilment.domain.invoice import Invoice
from services.fulfilment.domain.transaction import Transaction

DEFAULT_ROWS = 50
MAX_ROWS = 10_000
# A row may have a hundred lines, so a page holds fewer rows than a client may ask for.
MAX_PAGE_ROWS = 1_000
# A page ends with the row that reaches this size.
MAX_PAGE_BYTES = 1024 * 1024


class PageCursor(NamedTuple):
    """Position of a page's last row."""

    sort_key: int | str
    id: str


class TransactionQuery(Struct, frozen=True, kw_only=True):
    """Filter for a customer's transactions; None matches any. `from_us` is inclusive, `to_us` exclusive."""

    # Of large orders, about thirty fill a page.
    max_rows_at_once: ClassVar[int] = 10

    site: int
    rows: int = DEFAULT_ROWS
    client_order_number: str | None = None
    transaction_id: str | None = None
    purchase_order: str | None = None
    from_us: int | None = None
    to_us: int | None = None
    after: PageCursor | None = None

    def cursor(self, last: Transaction) -> PageCursor:
        """Return the cursor of the page that follows this transaction."""
        return PageCursor(last.created_us, last.id)


class InvoiceQuery(Struct, frozen=True, kw_only=True):
    """Filter for a customer's invoices and credit notes, by business date; both bounds are inclusive."""

    # An invoice has a line for each product of its day.
    max_rows_at_once: ClassVar[int] = 5

    site: int
    rows: int = DEFAULT_ROWS
    from_date: str | None = None
    to_date: str | None = None
    after: PageCursor | None = None

    def cursor(self, last: Invoice) -> PageCursor:
        """Return the cursor of the page that follows this document."""
        return PageCursor(last.draft.business_date, last.draft.id)
