"""Closing days: invoices, numbers, credit notes; on every kind of store."""

from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from services.chassis.runtime.errors import UnavailableError
from services.fulfilment import metrics
from services.fulfilment.domain.business_day import business_date
from services.fulfilment.domain.invoice import Invoice, InvoiceKind
from services.fulfilment.domain.listing import InvoiceQuery, PageCursor
from services.fulfilment.domain.purchase_order import PurchaseOrder, PurchaseOrderState
from services.fulfilment.domain.totals import PurchaseOrderTotals
from services.fulfilment.domain.transaction import Tally, apply_tallies
from services.fulfilment.flows import close_day
from services.fulfilment.ports import InsertResult
from tests.fulfilment.billing_checks import check_accounts, issued_documents
from tests.fulfilment.fakes import merge_lines
from tests.fulfilment.harness import (
    OTHER_SITE,
    PRODUCTS,
    SITE,
    Harness,
    build_memory_harness,
    local_time_us,
    transactions_of,
)


async def test_a_day_that_is_over_has_one_invoice(harness: Harness) -> None:
    await harness.load("CARD", "c1")
    for lines in ([("CARD", 1)], [("CARD", 2), ("PENNY", 3)]):
        await harness.fulfil((await harness.place(*lines)).transaction.id)
    await harness.close_days()
    assert await issued_documents(harness) == []
    harness.clock.advance(hours=12)
    for _ in range(3):
        await harness.close_days()
    (invoice,) = await issued_documents(harness)
    assert (invoice.number, invoice.label, invoice.draft.kind) == (1, "2026-000001", InvoiceKind.INVOICE)
    assert invoice.draft.total == Decimal("29.970003")
    assert [(line.sku, line.ordered, line.delivered, line.pending) for line in invoice.draft.lines] == [
        ("CARD", 3, 1, 2),
        ("PENNY", 3, 0, 3),
    ]
    (order,) = await harness.purchase_orders.list_by_day(SITE, "2026-03-04")
    assert order.state is PurchaseOrderState.CLOSED
    assert await harness.invoices.find(invoice.draft.id) == invoice


async def test_a_price_that_changed_within_the_day_has_a_line_of_its_own(harness: Harness) -> None:
    await harness.place(("CARD", 1))
    stored = (await harness.products.find(["CARD"]))["CARD"]
    await harness.products.put(replace(stored, unit_price=Decimal("10.01")))
    await harness.place(("CARD", 2))
    harness.clock.advance(days=1)
    await harness.close_days()
    (invoice,) = await issued_documents(harness)
    assert [(line.unit_price, line.charged) for line in invoice.draft.lines] == [
        (Decimal("9.99"), 1),
        (Decimal("10.01"), 2),
    ]
    assert invoice.draft.total == Decimal("30.01")


async def test_what_stands_on_a_purchase_order_is_added_up(harness: Harness) -> None:
    """MongoDB merges lines as `merge_lines` does: by product and price, in order of appearance, exactly."""
    card = PRODUCTS[0]
    await harness.load("CARD", "only")
    first = (await harness.place(("PENNY", 7), ("CARD", 2))).transaction
    await harness.products.put(replace(card, name="Dearer", unit_price=Decimal("10.000001")))
    await harness.place(("DEMO-CANCEL", 3), ("CARD", 1))
    await harness.products.put(replace(card, name="As before"))
    last = (await harness.place(("CARD", 5))).transaction
    harness.clock.advance(seconds=4)
    for transaction in await transactions_of(harness, first.purchase_order):
        await harness.fulfil(transaction.id)
    await harness.purchase_orders.reserve_sequence(
        PurchaseOrder(site=SITE, business_date=first.business_date, currency="USD")
    )
    await harness.transactions.void_sequence(first.purchase_order, last.sequence + 1)
    totals = await harness.transactions.totals(first.purchase_order)
    merged = merge_lines(await transactions_of(harness, first.purchase_order))
    assert totals == PurchaseOrderTotals(transactions=3, lines=merged.lines())
    assert [(line.sku, line.name, line.ordered, line.delivered, line.cancelled) for line in totals.lines] == [
        ("PENNY", "Penny", 7, 0, 0),
        ("CARD", "Card", 7, 1, 0),
        ("DEMO-CANCEL", "DEMO-CANCEL", 3, 0, 3),
        ("CARD", "Dearer", 1, 0, 0),
    ]
    assert await harness.transactions.totals("none") == PurchaseOrderTotals(transactions=0, lines=[])


async def test_a_closer_that_slept_for_days_gives_each_day_its_documents(harness: Harness) -> None:
    transaction = (await harness.place(("CARD", 10))).transaction
    for cancelled in (1, 3, 6):
        stored = await harness.transactions.find(transaction.id)
        day = (date(2026, 3, 4) + timedelta(days=cancelled)).isoformat()
        assert await harness.transactions.save(apply_tallies(stored, {0: Tally(0, cancelled)}, business_date=day))
    harness.clock.advance(days=30)
    await harness.close_days()
    documents = await issued_documents(harness)
    assert [(document.draft.business_date, document.draft.total) for document in documents] == [
        ("2026-03-04", Decimal("99.90")),
        ("2026-03-05", Decimal("-9.99")),
        ("2026-03-07", Decimal("-19.98")),
        ("2026-03-10", Decimal("-29.97")),
    ]
    assert [document.number for document in documents] == [1, 2, 3, 4]
    assert [document.draft.credited_invoice for document in documents] == [None, *["2026-000001"] * 3]
    assert {document.draft.transactions for document in documents} == {1}


async def test_each_year_and_customer_has_numbers_of_its_own(harness: Harness) -> None:
    harness.clock.now_us = local_time_us("2026-12-31T23:00:00")
    await harness.place(("CARD", 1))
    await harness.place(("CARD-EUR", 1))
    await harness.place(("CARD", 1), site=OTHER_SITE)
    harness.clock.advance(hours=2)
    await harness.close_days()
    await harness.place(("CARD", 1))
    harness.clock.advance(days=1)
    await harness.close_days()
    assert [document.label for document in await issued_documents(harness)] == [
        "2026-000001",
        "2026-000002",
        "2027-000001",
    ]
    assert [document.label for document in await issued_documents(harness, OTHER_SITE)] == ["2026-000001"]


async def test_a_day_without_transactions_has_no_invoice(harness: Harness) -> None:
    """A sequence number was reserved, and the process that reserved it died."""
    assert (
        await harness.purchase_orders.reserve_sequence(
            PurchaseOrder(site=SITE, business_date="2026-03-04", currency="USD")
        )
        == 1
    )
    harness.clock.advance(days=1)
    await harness.close_days()
    assert await issued_documents(harness) == []
    assert await harness.purchase_orders.unclosed(until="2026-03-04") == []


async def test_a_day_that_is_closed_by_hand_has_its_invoice_at_once_and_later_orders_go_to_the_next(
    harness: Harness,
) -> None:
    await harness.place(("CARD", 1))
    await harness.place(("CARD-EUR", 1))
    today, tomorrow = date(2026, 3, 4), date(2026, 3, 5)
    assert await close_day.close_day(tomorrow, harness.close_day_deps) == 0
    assert await close_day.close_day(today, harness.close_day_deps) == 2
    assert await close_day.close_day(today, harness.close_day_deps) == 0
    assert [document.draft.business_date for document in await issued_documents(harness)] == ["2026-03-04"] * 2
    assert (await harness.place(("CARD", 1))).transaction.business_date == "2026-03-05"


def refuse_documents_of(site: int, harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    add = harness.invoices.add

    async def refusing(invoice: Invoice) -> InsertResult:
        if invoice.draft.customer.site == site:
            raise ValueError("no such document is taken")
        added: InsertResult = await add(invoice)
        return added

    monkeypatch.setattr(harness.invoices, "add", refusing)


@pytest.mark.parametrize("stuck", [SITE, OTHER_SITE])
async def test_one_that_cannot_be_closed_holds_up_nobody_else(
    memory_harness: Harness, monkeypatch: pytest.MonkeyPatch, stuck: int
) -> None:
    harness = memory_harness
    for site in (SITE, OTHER_SITE):
        await harness.place(("CARD", 1), site=site)
    harness.clock.advance(hours=12)

    refuse_documents_of(stuck, harness, monkeypatch)
    with pytest.raises(ExceptionGroup, match="cannot be closed"):
        await close_day.close_ended_days(harness.close_day_deps)
    assert [len(await issued_documents(harness, site)) for site in (SITE, OTHER_SITE)] == [
        int(stuck != SITE),
        int(stuck == SITE),
    ]
    assert metrics.OVERDUE._value.get() == 1
    monkeypatch.undo()
    assert await close_day.close_ended_days(harness.close_day_deps) == 1
    assert len(await issued_documents(harness, stuck)) == 1
    assert metrics.OVERDUE._value.get() == 0


@pytest.mark.parametrize("stuck", [SITE, OTHER_SITE])
async def test_a_day_that_is_closed_by_hand_is_closed_for_everybody_else(
    memory_harness: Harness, monkeypatch: pytest.MonkeyPatch, stuck: int
) -> None:
    harness = memory_harness
    for site in (SITE, OTHER_SITE):
        await harness.place(("CARD", 1), site=site)

    refuse_documents_of(stuck, harness, monkeypatch)
    with pytest.raises(ExceptionGroup, match="cannot be closed"):
        await close_day.close_day(date(2026, 3, 4), harness.close_day_deps)
    assert [len(await issued_documents(harness, site)) for site in (SITE, OTHER_SITE)] == [
        int(stuck != SITE),
        int(stuck == SITE),
    ]


async def test_no_document_that_cannot_be_issued_holds_up_the_credit_notes_of_others(
    memory_harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One day cannot be closed, and one credit note cannot be issued; a third customer awaits one as well."""
    harness, add = memory_harness, memory_harness.invoices.add
    sites = {"refused": SITE, "uncredited": OTHER_SITE, "unclosed": 700}
    harness.customers.time_zones[700] = ZoneInfo("UTC")
    for site in (SITE, OTHER_SITE):
        await harness.place(("DEMO-CANCEL", 1), site=site)
    harness.clock.advance(days=1)
    await harness.close_days()
    for transaction_id in list(harness.transactions.by_id):
        await harness.fulfil(transaction_id)
    await harness.place(("CARD", 1), site=700)
    harness.clock.advance(days=1)
    stuck = {sites["refused"], sites["unclosed"]}

    async def refusing(invoice: Invoice) -> InsertResult:
        if invoice.draft.customer.site in stuck:
            raise ValueError("no such document is taken")
        added: InsertResult = await add(invoice)
        return added

    monkeypatch.setattr(harness.invoices, "add", refusing)
    with pytest.raises(ExceptionGroup):
        await close_day.close_and_credit(harness.close_day_deps)
    assert {name: len(await issued_documents(harness, site)) for name, site in sites.items()} == {
        "refused": 1,
        "uncredited": 2,
        "unclosed": 0,
    }
    monkeypatch.undo()
    await close_day.close_and_credit(harness.close_day_deps)
    assert {name: len(await issued_documents(harness, site)) for name, site in sites.items()} == {
        "refused": 2,
        "uncredited": 2,
        "unclosed": 1,
    }


async def test_a_number_is_given_once_and_a_document_issued_once(harness: Harness) -> None:
    await harness.place(("CARD", 1))
    harness.clock.advance(days=1)
    await harness.close_days()
    ((draft, number),) = [(document.draft, document.number) for document in await issued_documents(harness)]
    assert await harness.invoices.add(Invoice(draft, number + 1)) is InsertResult.EXISTS
    assert await harness.invoices.add(Invoice(replace(draft, sequence=1), number)) is InsertResult.NUMBER_TAKEN
    assert await harness.invoices.add(Invoice(replace(draft, sequence=1), number + 1)) is InsertResult.INSERTED


async def test_while_the_store_is_unavailable_what_is_overdue_shows(memory_harness: Harness) -> None:
    harness = memory_harness
    for site in (SITE, OTHER_SITE):
        await harness.place(("CARD", 1), site=site)
    harness.clock.advance(hours=12)

    async def unavailable(_: Invoice) -> InsertResult:
        raise UnavailableError("MongoDB")

    harness.invoices.add = unavailable
    with pytest.raises(UnavailableError):
        await close_day.close_and_credit(harness.close_day_deps)
    assert metrics.OVERDUE._value.get() == 2


async def test_invoices_are_listed_newest_first(harness: Harness) -> None:
    for _ in range(5):
        await harness.place(("CARD", 1))
        harness.clock.advance(days=1)
    await harness.close_days()
    everything = await harness.invoices.find_page(InvoiceQuery(site=SITE))
    days = [document.draft.business_date for document in everything]
    assert days == sorted(days, reverse=True)
    assert len(days) == 5
    walked: list[Invoice] = []
    after = None
    while page := (await harness.invoices.find_page(InvoiceQuery(site=SITE, rows=2, after=after)))[:2]:
        walked += page
        after = PageCursor(page[-1].draft.business_date, page[-1].draft.id)
    assert walked == list(everything)
    some = await harness.invoices.find_page(InvoiceQuery(site=SITE, from_date="2026-03-05", to_date="2026-03-06"))
    assert [document.draft.business_date for document in some] == ["2026-03-06", "2026-03-05"]


amounts = st.decimals(min_value=0, max_value=100_000, places=6)


@given(
    prices=st.lists(amounts, min_size=1, max_size=4),
    orders=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 1000), st.integers(0, 1000)), min_size=1, max_size=12),
    cancelling=st.lists(st.tuples(st.integers(0, 11), st.integers(0, 30), st.integers(1, 400)), max_size=12),
)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
async def test_sums_are_equal_to_the_last_decimal(
    prices: list[Decimal], orders: list[tuple[int, int, int]], cancelling: list[tuple[int, int, int]]
) -> None:
    """Σ invoices and credit notes = Σ transactions, whatever is delivered and cancelled, whenever."""
    harness = build_memory_harness()
    card = harness.products.products["CARD"]
    placed = []
    for which, quantity, delivered in orders:
        await harness.products.put(replace(card, unit_price=prices[which % len(prices)]))
        transaction = (await harness.place(("CARD", quantity))).transaction
        placed.append(transaction.id)
        if delivered:
            await harness.transactions.save(
                apply_tallies(transaction, {0: Tally(min(delivered, quantity), 0)}, business_date="2026-03-04")
            )
        harness.clock.advance(hours=7)
    for which, hours, units in cancelling:
        harness.clock.advance(hours=hours)
        await harness.close_days()
        stored = await harness.transactions.find(placed[which % len(placed)])
        line = stored.lines[0]
        cancelled = line.cancelled + min(units, line.pending)
        on = business_date(harness.clock(), ZoneInfo("UTC")).isoformat()
        now = apply_tallies(stored, {0: Tally(line.delivered, cancelled)}, business_date=on)
        if now is not stored:
            await harness.transactions.save(now)
    for _ in range(2):
        harness.clock.advance(days=2)
        await harness.close_days()
    await check_accounts(harness)
    documents = await issued_documents(harness)
    assert all(document.draft.total == sum(line.amount for line in document.draft.lines) for document in documents)
    assert all(a.draft.issued_us <= b.draft.issued_us for a, b in pairwise(documents))
