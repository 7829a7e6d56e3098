"""Days that end: invoices, numbers, credit notes; on every kind of store."""

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
from services.fulfilment.domain.invoice import Invoice, Kind
from services.fulfilment.domain.listing import After, InvoicesAsked
from services.fulfilment.domain.purchase_order import PurchaseOrder, Stage
from services.fulfilment.domain.sums import Sums, merged
from services.fulfilment.domain.transaction import Tally, counted
from services.fulfilment.flows import close_day
from services.fulfilment.ports import Added
from tests.fulfilment.billing_side import check_accounts, issued
from tests.fulfilment.shop import OTHER_SITE, PRODUCTS, SITE, Shop, a_memory_shop, at


async def test_a_day_that_is_over_has_one_invoice(shop: Shop) -> None:
    await shop.load("CARD", "c1")
    for lines in ([("CARD", 1)], [("CARD", 2), ("PENNY", 3)]):
        await shop.fulfil((await shop.place(*lines)).transaction.id)
    await shop.close()
    assert await issued(shop) == []
    shop.clock.pass_(hours=12)
    for _ in range(3):
        await shop.close()
    (invoice,) = await issued(shop)
    assert (invoice.number, invoice.label, invoice.draft.kind) == (1, "2026-000001", Kind.INVOICE)
    assert invoice.draft.total == Decimal("29.970003")
    assert [(line.sku, line.ordered, line.delivered, line.pending) for line in invoice.draft.lines] == [
        ("CARD", 3, 1, 2),
        ("PENNY", 3, 0, 3),
    ]
    (order,) = await shop.orders.of_day(SITE, "2026-03-04")
    assert order.stage is Stage.CLOSED
    assert await shop.invoices.find(invoice.draft.id) == invoice


async def test_a_price_that_changed_within_the_day_has_a_line_of_its_own(shop: Shop) -> None:
    await shop.place(("CARD", 1))
    known = (await shop.products.find(["CARD"]))["CARD"]
    await shop.products.put(replace(known, unit_price=Decimal("10.01")))
    await shop.place(("CARD", 2))
    shop.clock.pass_(days=1)
    await shop.close()
    (invoice,) = await issued(shop)
    assert [(line.unit_price, line.charged) for line in invoice.draft.lines] == [
        (Decimal("9.99"), 1),
        (Decimal("10.01"), 2),
    ]
    assert invoice.draft.total == Decimal("30.01")


async def test_what_stands_on_a_purchase_order_is_added_up(shop: Shop) -> None:
    """Where it is kept as here: by product and price, in order of appearance, exact to the last decimal."""
    card = PRODUCTS[0]
    await shop.load("CARD", "only")
    first = (await shop.place(("PENNY", 7), ("CARD", 2))).transaction
    await shop.products.put(replace(card, name="Dearer", unit_price=Decimal("10.000001")))
    await shop.place(("DEMO-CANCEL", 3), ("CARD", 1))
    await shop.products.put(replace(card, name="As before"))
    last = (await shop.place(("CARD", 5))).transaction
    shop.clock.pass_(seconds=4)
    for one in await shop.transactions.on_order(first.purchase_order):
        await shop.fulfil(one.id)
    await shop.orders.enter(PurchaseOrder(site=SITE, business_date=first.business_date, currency="USD"))
    await shop.transactions.block(first.purchase_order, last.place + 1)
    sums = await shop.transactions.sums(first.purchase_order)
    assert sums == Sums(transactions=3, lines=merged(await shop.transactions.on_order(first.purchase_order)))
    assert [(line.sku, line.name, line.ordered, line.delivered, line.cancelled) for line in sums.lines] == [
        ("PENNY", "Penny", 7, 0, 0),
        ("CARD", "Card", 7, 1, 0),
        ("DEMO-CANCEL", "DEMO-CANCEL", 3, 0, 3),
        ("CARD", "Dearer", 1, 0, 0),
    ]
    assert await shop.transactions.sums("none") == Sums(transactions=0, lines=[])


async def test_what_was_cancelled_within_the_day_is_not_charged(shop: Shop) -> None:
    transaction = (await shop.place(("DEMO-CANCEL", 2), ("DEMO-INSTANT", 1))).transaction
    shop.clock.pass_(seconds=3)
    await shop.fulfil(transaction.id)
    shop.clock.pass_(days=1)
    await shop.close()
    (invoice,) = await issued(shop)
    assert invoice.draft.total == Decimal(10)
    assert [(line.cancelled, line.charged) for line in invoice.draft.lines] == [(2, 0), (0, 1)]
    assert await shop.transactions.owing() == {}


async def test_what_is_cancelled_later_is_credited_at_the_end_of_that_day(shop: Shop) -> None:
    shop.deadline = timedelta(days=2)
    transaction = (await shop.place(("DEMO-NEVER", 2), ("DEMO-INSTANT", 1))).transaction
    await shop.fulfil(transaction.id)
    shop.clock.pass_(days=2)
    await shop.close()
    await shop.fulfil(transaction.id)
    await shop.close()
    assert [one.draft.kind for one in await issued(shop)] == [Kind.INVOICE]
    shop.clock.pass_(hours=12)
    for _ in range(3):
        await shop.close()
    invoice, note = await issued(shop)
    assert (invoice.draft.total, note.draft.total) == (Decimal(30), Decimal(-20))
    assert (note.draft.kind, note.number, note.draft.business_date) == (Kind.CREDIT_NOTE, 2, "2026-03-06")
    assert note.draft.credits == "2026-000001"
    assert [(line.sku, line.charged) for line in note.draft.lines] == [("DEMO-NEVER", -2)]
    assert await shop.transactions.owing() == {}


async def test_what_is_cancelled_on_a_day_that_was_closed_by_hand_is_credited_when_it_is_over(shop: Shop) -> None:
    """The second order is on the next day's purchase order, which is closed before that day has begun."""
    placed = []
    for day in (4, 5):
        placed.append((await shop.place(("DEMO-CANCEL", day))).transaction)
        await close_day.close_day(date(2026, 3, day), shop.billing)
    assert [one.business_date for one in placed] == ["2026-03-04", "2026-03-05"]
    shop.clock.pass_(seconds=3)
    for one in placed:
        await shop.fulfil(one.id)
    for credited in (0, 1, 2):
        await shop.close()
        notes = [one.draft for one in await issued(shop) if one.draft.kind is Kind.CREDIT_NOTE]
        assert [note.total for note in notes] == [Decimal(-40), Decimal(-50)][:credited]
        shop.clock.pass_(days=1)
    assert await shop.transactions.owing() == {}
    await check_accounts(shop)


async def test_a_closer_that_slept_for_days_gives_each_day_its_documents(shop: Shop) -> None:
    transaction = (await shop.place(("CARD", 10))).transaction
    for cancelled in (1, 3, 6):
        known = await shop.transactions.find(transaction.id)
        day = (date(2026, 3, 4) + timedelta(days=cancelled)).isoformat()
        assert await shop.transactions.save(counted(known, {0: Tally(0, cancelled)}, on=day))
    shop.clock.pass_(days=30)
    await shop.close()
    documents = await issued(shop)
    assert [(one.draft.business_date, one.draft.total) for one in documents] == [
        ("2026-03-04", Decimal("99.90")),
        ("2026-03-05", Decimal("-9.99")),
        ("2026-03-07", Decimal("-19.98")),
        ("2026-03-10", Decimal("-29.97")),
    ]
    assert [one.number for one in documents] == [1, 2, 3, 4]
    assert [one.draft.credits for one in documents] == [None, *["2026-000001"] * 3]
    assert {one.draft.transactions for one in documents} == {1}


async def test_numbers_begin_anew_with_each_year_and_customer(shop: Shop) -> None:
    shop.clock.now_us = at("2026-12-31T23:00:00")
    await shop.place(("CARD", 1))
    await shop.place(("CARD-EUR", 1))
    await shop.place(("CARD", 1), site=OTHER_SITE)
    shop.clock.pass_(hours=2)
    await shop.close()
    await shop.place(("CARD", 1))
    shop.clock.pass_(days=1)
    await shop.close()
    assert [one.label for one in await issued(shop)] == ["2026-000001", "2026-000002", "2027-000001"]
    assert [one.label for one in await issued(shop, OTHER_SITE)] == ["2026-000001"]


async def test_a_day_without_transactions_has_no_invoice(shop: Shop) -> None:
    """A place was given, and the process that got it died."""
    assert await shop.orders.enter(PurchaseOrder(site=SITE, business_date="2026-03-04", currency="USD")) == 1
    shop.clock.pass_(days=1)
    await shop.close()
    assert await issued(shop) == []
    assert await shop.orders.unclosed(until="2026-03-04") == []


async def test_a_day_that_is_closed_by_hand_has_its_invoice_at_once_and_later_orders_go_to_the_next(shop: Shop) -> None:
    await shop.place(("CARD", 1))
    await shop.place(("CARD-EUR", 1))
    today, tomorrow = date(2026, 3, 4), date(2026, 3, 5)
    assert await close_day.close_day(tomorrow, shop.billing) == 0
    assert await close_day.close_day(today, shop.billing) == 2
    assert await close_day.close_day(today, shop.billing) == 0
    assert [one.draft.business_date for one in await issued(shop)] == ["2026-03-04"] * 2
    assert (await shop.place(("CARD", 1))).transaction.business_date == "2026-03-05"


def take_no_document_of(site: int, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    add = shop.invoices.add

    async def refusing(invoice: Invoice) -> Added:
        if invoice.draft.party.site == site:
            raise ValueError("no such document is taken")
        added: Added = await add(invoice)
        return added

    monkeypatch.setattr(shop.invoices, "add", refusing)


@pytest.mark.parametrize("stuck", [SITE, OTHER_SITE])
async def test_one_that_cannot_be_closed_holds_up_nobody_else(
    memory_shop: Shop, monkeypatch: pytest.MonkeyPatch, stuck: int
) -> None:
    shop = memory_shop
    for site in (SITE, OTHER_SITE):
        await shop.place(("CARD", 1), site=site)
    shop.clock.pass_(hours=12)

    take_no_document_of(stuck, shop, monkeypatch)
    with pytest.raises(ExceptionGroup, match="cannot be closed"):
        await close_day.close_ended_days(shop.billing)
    assert [len(await issued(shop, site)) for site in (SITE, OTHER_SITE)] == [int(stuck != SITE), int(stuck == SITE)]
    assert metrics.UNCLOSED._value.get() == 1
    monkeypatch.undo()
    assert await close_day.close_ended_days(shop.billing) == 1
    assert len(await issued(shop, stuck)) == 1
    assert metrics.UNCLOSED._value.get() == 0


@pytest.mark.parametrize("stuck", [SITE, OTHER_SITE])
async def test_a_day_that_is_closed_by_hand_is_closed_for_everybody_else(
    memory_shop: Shop, monkeypatch: pytest.MonkeyPatch, stuck: int
) -> None:
    shop = memory_shop
    for site in (SITE, OTHER_SITE):
        await shop.place(("CARD", 1), site=site)

    take_no_document_of(stuck, shop, monkeypatch)
    with pytest.raises(ExceptionGroup, match="cannot be closed"):
        await close_day.close_day(date(2026, 3, 4), shop.billing)
    assert [len(await issued(shop, site)) for site in (SITE, OTHER_SITE)] == [int(stuck != SITE), int(stuck == SITE)]


async def test_no_document_that_cannot_be_issued_holds_up_the_credit_notes_of_others(
    memory_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One day cannot be closed, and one credit note cannot be issued; a third customer is owed one as well."""
    shop, add = memory_shop, memory_shop.invoices.add
    sites = {"owed in vain": SITE, "owed": OTHER_SITE, "unclosed": 700}
    shop.register.zones[700] = ZoneInfo("UTC")
    for site in (SITE, OTHER_SITE):
        await shop.place(("DEMO-CANCEL", 1), site=site)
    shop.clock.pass_(days=1)
    await shop.close()
    for transaction_id in list(shop.transactions.kept):
        await shop.fulfil(transaction_id)
    await shop.place(("CARD", 1), site=700)
    shop.clock.pass_(days=1)
    stuck = {sites["owed in vain"], sites["unclosed"]}

    async def refusing(invoice: Invoice) -> Added:
        if invoice.draft.party.site in stuck:
            raise ValueError("no such document is taken")
        added: Added = await add(invoice)
        return added

    monkeypatch.setattr(shop.invoices, "add", refusing)
    with pytest.raises(ExceptionGroup):
        await close_day.settle(shop.billing)
    assert {name: len(await issued(shop, site)) for name, site in sites.items()} == {
        "owed in vain": 1,
        "owed": 2,
        "unclosed": 0,
    }
    monkeypatch.undo()
    await close_day.settle(shop.billing)
    assert {name: len(await issued(shop, site)) for name, site in sites.items()} == {
        "owed in vain": 2,
        "owed": 2,
        "unclosed": 1,
    }


async def test_nothing_is_credited_before_it_is_invoiced(shop: Shop) -> None:
    placed = (await shop.place(("DEMO-CANCEL", 1))).transaction
    shop.clock.pass_(days=2)
    await shop.fulfil(placed.id)
    shop.clock.pass_(days=2)
    assert await close_day.issue_credit_notes(shop.billing) == 0
    assert await issued(shop) == []


async def test_a_number_is_given_once_and_a_document_issued_once(shop: Shop) -> None:
    await shop.place(("CARD", 1))
    shop.clock.pass_(days=1)
    await shop.close()
    ((draft, number),) = [(one.draft, one.number) for one in await issued(shop)]
    assert await shop.invoices.add(Invoice(draft, number + 1)) is Added.THERE
    assert await shop.invoices.add(Invoice(replace(draft, turn=1), number)) is Added.NUMBER_TAKEN
    assert await shop.invoices.add(Invoice(replace(draft, turn=1), number + 1)) is Added.ADDED


async def test_while_the_store_is_away_what_is_overdue_shows(memory_shop: Shop) -> None:
    shop = memory_shop
    for site in (SITE, OTHER_SITE):
        await shop.place(("CARD", 1), site=site)
    shop.clock.pass_(hours=12)

    async def away(_: Invoice) -> Added:
        raise UnavailableError("MongoDB")

    shop.invoices.add = away
    with pytest.raises(UnavailableError):
        await close_day.settle(shop.billing)
    assert metrics.UNCLOSED._value.get() == 2


async def test_invoices_are_listed_newest_first(shop: Shop) -> None:
    for _ in range(5):
        await shop.place(("CARD", 1))
        shop.clock.pass_(days=1)
    await shop.close()
    everything = await shop.invoices.listed(InvoicesAsked(site=SITE))
    days = [one.draft.business_date for one in everything]
    assert days == sorted(days, reverse=True)
    assert len(days) == 5
    walked: list[Invoice] = []
    after = None
    while page := (await shop.invoices.listed(InvoicesAsked(site=SITE, rows=2, after=after)))[:2]:
        walked += page
        after = After(page[-1].draft.business_date, page[-1].draft.id)
    assert walked == list(everything)
    some = await shop.invoices.listed(InvoicesAsked(site=SITE, from_on="2026-03-05", to_on="2026-03-06"))
    assert [one.draft.business_date for one in some] == ["2026-03-06", "2026-03-05"]


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
    shop = a_memory_shop()
    card = shop.products.products["CARD"]
    placed = []
    for which, quantity, delivered in orders:
        await shop.products.put(replace(card, unit_price=prices[which % len(prices)]))
        transaction = (await shop.place(("CARD", quantity))).transaction
        placed.append(transaction.id)
        if delivered:
            await shop.transactions.save(counted(transaction, {0: Tally(min(delivered, quantity), 0)}, on="2026-03-04"))
        shop.clock.pass_(hours=7)
    for which, hours, units in cancelling:
        shop.clock.pass_(hours=hours)
        await shop.close()
        known = await shop.transactions.find(placed[which % len(placed)])
        line = known.lines[0]
        cancelled = line.cancelled + min(units, line.pending)
        on = business_date(shop.clock(), ZoneInfo("UTC")).isoformat()
        now = counted(known, {0: Tally(line.delivered, cancelled)}, on=on)
        if now is not known:
            await shop.transactions.save(now)
    for _ in range(2):
        shop.clock.pass_(days=2)
        await shop.close()
    await check_accounts(shop)
    documents = await issued(shop)
    assert all(one.draft.total == sum(line.amount for line in one.draft.lines) for one in documents)
    assert all(a.draft.issued_us <= b.draft.issued_us for a, b in pairwise(documents))


async def test_what_cost_nothing_is_credited_with_nothing(memory_shop: Shop) -> None:
    """Not with less than nothing, which would be printed so."""
    shop = memory_shop
    known = shop.products.products["DEMO-CANCEL"]
    await shop.products.put(replace(known, unit_price=Decimal("0.000000")))
    placed = (await shop.place(("DEMO-CANCEL", 2))).transaction
    for _ in range(3):
        shop.clock.pass_(days=1)
        await shop.close()
        await shop.fulfil(placed.id)
    for draft in [one.draft for one in await issued(shop)]:
        assert [f"{line.amount:f}" for line in draft.lines] == ["0.000000"], draft.kind
    assert len(await issued(shop)) == 2


async def test_what_is_cancelled_while_earlier_ones_are_settled_stays_owed(shop: Shop) -> None:
    placed = (await shop.place(("CARD", 2))).transaction
    known = counted(placed, {0: Tally(0, 1)}, on="2026-03-05")
    later = counted(known, {0: Tally(0, 2)}, on="2026-03-06")
    for version in (known, later):
        assert await shop.transactions.save(version)
    await shop.transactions.settled(known)
    assert await shop.transactions.owing() == {placed.purchase_order: ["2026-03-05", "2026-03-06"]}
    await shop.transactions.settled(later)
    assert await shop.transactions.owing() == {}
