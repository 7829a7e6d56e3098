"""Checks of invoices and credit notes."""

from decimal import Decimal

from services.fulfilment import metrics
from services.fulfilment.domain.invoice import Invoice, InvoiceKind
from services.fulfilment.domain.listing import InvoiceQuery
from tests.fulfilment.harness import SITE, Harness, transactions_of


async def issued_documents(harness: Harness, site: int = SITE) -> list[Invoice]:
    """Return all documents by number."""
    found = await harness.invoices.find_page(InvoiceQuery(site=site, rows=1_000))
    return sorted(found, key=lambda document: (document.draft.year, document.number))


def issued_invoice_count() -> float:
    return float(metrics.INVOICES.labels("INVOICE")._value.get())


async def check_accounts(harness: Harness) -> None:
    """Each transaction is on one purchase order and one invoice, totals are equal, numbers have no gaps."""
    documents = await issued_documents(harness)
    for year in {document.draft.year for document in documents}:
        numbers = [document.number for document in documents if document.draft.year == year]
        assert numbers == list(range(1, len(numbers) + 1))
    invoices = [document.draft for document in documents if document.draft.kind is InvoiceKind.INVOICE]
    assert len({draft.purchase_order for draft in invoices}) == len(invoices)
    total, count = Decimal(0), 0
    for order in {draft.purchase_order for draft in invoices}:
        for transaction in await transactions_of(harness, order):
            count += 1
            total += sum(line.unit_price * (line.quantity - line.cancelled) for line in transaction.lines)
    assert sum(document.draft.total for document in documents) == total
    assert sum(draft.transactions for draft in invoices) == count
