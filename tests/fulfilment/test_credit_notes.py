"""Credit notes: what is cancelled after its day is invoiced; on every kind of store."""

from datetime import date, timedelta
from decimal import Decimal

from msgspec.structs import replace

from services.fulfilment.domain.invoice import InvoiceKind
from services.fulfilment.domain.transaction import Tally, apply_tallies
from services.fulfilment.flows import close_day
from tests.fulfilment.billing_checks import check_accounts, issued_documents
from tests.fulfilment.harness import Harness


async def test_what_was_cancelled_within_the_day_is_not_charged(harness: Harness) -> None:
    transaction = (await harness.place(("DEMO-CANCEL", 2), ("DEMO-INSTANT", 1))).transaction
    harness.clock.advance(seconds=3)
    await harness.fulfil(transaction.id)
    harness.clock.advance(days=1)
    await harness.close_days()
    (invoice,) = await issued_documents(harness)
    assert invoice.draft.total == Decimal(10)
    assert [(line.cancelled, line.charged) for line in invoice.draft.lines] == [(2, 0), (0, 1)]
    assert await harness.transactions.uncredited() == {}


async def test_what_is_cancelled_later_is_credited_at_the_end_of_that_day(harness: Harness) -> None:
    harness.deadline = timedelta(days=2)
    transaction = (await harness.place(("DEMO-NEVER", 2), ("DEMO-INSTANT", 1))).transaction
    await harness.fulfil(transaction.id)
    harness.clock.advance(days=2)
    await harness.close_days()
    await harness.fulfil(transaction.id)
    await harness.close_days()
    assert [document.draft.kind for document in await issued_documents(harness)] == [InvoiceKind.INVOICE]
    harness.clock.advance(hours=12)
    for _ in range(3):
        await harness.close_days()
    invoice, note = await issued_documents(harness)
    assert (invoice.draft.total, note.draft.total) == (Decimal(30), Decimal(-20))
    assert (note.draft.kind, note.number, note.draft.business_date) == (InvoiceKind.CREDIT_NOTE, 2, "2026-03-06")
    assert note.draft.credited_invoice == "2026-000001"
    assert [(line.sku, line.charged) for line in note.draft.lines] == [("DEMO-NEVER", -2)]
    assert await harness.transactions.uncredited() == {}


async def test_what_is_cancelled_on_a_day_that_was_closed_by_hand_is_credited_when_it_is_over(harness: Harness) -> None:
    """The second order is on the next day's purchase order, which is closed before that day has begun."""
    placed = []
    for day in (4, 5):
        placed.append((await harness.place(("DEMO-CANCEL", day))).transaction)
        await close_day.close_day(date(2026, 3, day), harness.close_day_deps)
    assert [transaction.business_date for transaction in placed] == ["2026-03-04", "2026-03-05"]
    harness.clock.advance(seconds=3)
    for transaction in placed:
        await harness.fulfil(transaction.id)
    for credited in (0, 1, 2):
        await harness.close_days()
        notes = [
            document.draft
            for document in await issued_documents(harness)
            if document.draft.kind is InvoiceKind.CREDIT_NOTE
        ]
        assert [note.total for note in notes] == [Decimal(-40), Decimal(-50)][:credited]
        harness.clock.advance(days=1)
    assert await harness.transactions.uncredited() == {}
    await check_accounts(harness)


async def test_nothing_is_credited_before_it_is_invoiced(harness: Harness) -> None:
    placed = (await harness.place(("DEMO-CANCEL", 1))).transaction
    harness.clock.advance(days=2)
    await harness.fulfil(placed.id)
    harness.clock.advance(days=2)
    assert await close_day.issue_credit_notes(harness.close_day_deps) == 0
    assert await issued_documents(harness) == []


async def test_what_cost_nothing_is_credited_with_nothing(memory_harness: Harness) -> None:
    """The amount is not -0.00."""
    harness = memory_harness
    stored = harness.products.products["DEMO-CANCEL"]
    await harness.products.put(replace(stored, unit_price=Decimal("0.000000")))
    placed = (await harness.place(("DEMO-CANCEL", 2))).transaction
    for _ in range(3):
        harness.clock.advance(days=1)
        await harness.close_days()
        await harness.fulfil(placed.id)
    for draft in [document.draft for document in await issued_documents(harness)]:
        assert [f"{line.amount:f}" for line in draft.lines] == ["0.000000"], draft.kind
    assert len(await issued_documents(harness)) == 2


async def test_what_is_cancelled_while_earlier_ones_are_credited_stays_uncredited(harness: Harness) -> None:
    placed = (await harness.place(("CARD", 2))).transaction
    stored = apply_tallies(placed, {0: Tally(0, 1)}, business_date="2026-03-05")
    later = apply_tallies(stored, {0: Tally(0, 2)}, business_date="2026-03-06")
    for version in (stored, later):
        assert await harness.transactions.save(version)
    await harness.transactions.mark_credited(stored.id, version=stored.version)
    assert await harness.transactions.uncredited() == {placed.purchase_order: ["2026-03-05", "2026-03-06"]}
    await harness.transactions.mark_credited(later.id, version=later.version)
    assert await harness.transactions.uncredited() == {}
