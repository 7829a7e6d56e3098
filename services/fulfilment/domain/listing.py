"""Pages of what a customer has, newest first."""

from typing import NamedTuple

from msgspec import Struct

from services.fulfilment.domain.invoice import Invoice
from services.fulfilment.domain.transaction import Transaction

DEFAULT_ROWS = 50
MOST_ROWS = 10_000
# A transaction may have a hundred lines, and so may an invoice.
LONGEST_PAGE = 1_000


class After(NamedTuple):
    """The last one that was shown."""

    sort: int | str
    id: str


class TransactionsAsked(Struct, frozen=True, kw_only=True):
    """Which transactions of a customer are wanted; None takes any."""

    site: int
    rows: int = DEFAULT_ROWS
    client_order_number: str | None = None
    transaction_id: str | None = None
    purchase_order: str | None = None
    from_us: int | None = None
    to_us: int | None = None
    after: After | None = None


class InvoicesAsked(Struct, frozen=True, kw_only=True):
    """Which invoices and credit notes of a customer are wanted, by their business date."""

    site: int
    rows: int = DEFAULT_ROWS
    from_on: str | None = None
    to_on: str | None = None
    after: After | None = None


def after_transaction(last: Transaction) -> After:
    """Where the list goes on after this one."""
    return After(last.created_us, last.id)


def after_invoice(last: Invoice) -> After:
    """Where the list goes on after this one."""
    return After(last.draft.business_date, last.draft.id)
