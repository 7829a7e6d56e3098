"""Pages of what a customer has, newest first."""

from typing import NamedTuple

from msgspec import Struct

from services.fulfilment.domain.invoice import Invoice
from services.fulfilment.domain.transaction import Transaction

DEFAULT_ROWS = 50
MAX_ROWS = 10_000
# A transaction may have a hundred lines, and so may an invoice.
MAX_PAGE_ROWS = 1_000


class PageCursor(NamedTuple):
    """The last one that was shown."""

    sort_key: int | str
    id: str


class TransactionQuery(Struct, frozen=True, kw_only=True):
    """Which transactions of a customer are wanted; None takes any."""

    site: int
    rows: int = DEFAULT_ROWS
    client_order_number: str | None = None
    transaction_id: str | None = None
    purchase_order: str | None = None
    from_us: int | None = None
    to_us: int | None = None
    after: PageCursor | None = None


class InvoiceQuery(Struct, frozen=True, kw_only=True):
    """Which invoices and credit notes of a customer are wanted, by their business date."""

    site: int
    rows: int = DEFAULT_ROWS
    from_date: str | None = None
    to_date: str | None = None
    after: PageCursor | None = None


def transaction_cursor(last: Transaction) -> PageCursor:
    """Where the list goes on after this one."""
    return PageCursor(last.created_us, last.id)


def invoice_cursor(last: Invoice) -> PageCursor:
    """Where the list goes on after this one."""
    return PageCursor(last.draft.business_date, last.draft.id)
