"""What tests of billing look at."""

from decimal import Decimal

from services.fulfilment import metrics
from services.fulfilment.domain.invoice import Invoice, InvoiceKind
from services.fulfilment.domain.listing import InvoiceQuery
from tests.fulfilment.harness import SITE, Harness


async def issued_documents(harness: Harness, site: int = SITE) -> list[Invoice]:
    """All documents, oldest number first."""
    found = await harness.invoices.find_page(InvoiceQuery(site=site, rows=1_000))
    return sorted(found, key=lambda one: (one.draft.year, one.number))


def counted_invoices() -> float:
    return float(metrics.INVOICES.labels("INVOICE")._value.get())


async def check_accounts(harness: Harness) -> None:
    """Each transaction on one purchase order and one invoice, sums equal, numbers without gaps."""
    documents = await issued_documents(harness)
    for year in {one.draft.year for one in documents}:
        numbers = [one.number for one in documents if one.draft.year == year]
        assert numbers == list(range(1, len(numbers) + 1))
    invoices = [one.draft for one in documents if one.draft.kind is InvoiceKind.INVOICE]
    assert len({one.purchase_order for one in invoices}) == len(invoices)
    total, count = Decimal(0), 0
    for order in {one.purchase_order for one in invoices}:
        for transaction in await harness.transactions.list_by_purchase_order(order):
            count += 1
            total += sum(line.unit_price * (line.quantity - line.cancelled) for line in transaction.lines)
    assert sum(one.draft.total for one in documents) == total
    assert sum(one.transactions for one in invoices) == count
