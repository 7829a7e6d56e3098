"""A day ends at midnight of the customer's time zone, once, whatever clocks do."""

import asyncio
import dataclasses
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from services.fulfilment.domain.invoice import InvoiceKind
from services.fulfilment.flows import close_day
from tests.fulfilment.billing_checks import check_accounts, issued_documents, issued_invoice_count
from tests.fulfilment.harness import SECOND_US, SITE, Harness, local_time_us


async def test_days_end_when_their_last_orders_have_had_time_to_arrive(harness: Harness) -> None:
    """Invoices are issued two seconds after midnight, and so are credit notes."""
    deps = dataclasses.replace(harness.close_day_deps, grace_us=2 * SECOND_US)
    harness.clock.now_us = local_time_us("2026-03-04T23:59:58")
    cancelled = (await harness.place(("DEMO-CANCEL", 1))).transaction
    for day in ("2026-03-05", "2026-03-06"):
        before = len(await issued_documents(harness))
        harness.clock.now_us = local_time_us(f"{day}T00:00:01.999999")
        await close_day.close_and_credit(deps)
        assert len(await issued_documents(harness)) == before, day
        harness.clock.now_us += 1
        await close_day.close_and_credit(deps)
        assert len(await issued_documents(harness)) == before + 1, day
        await harness.fulfil(cancelled.id)
    assert [document.draft.kind for document in await issued_documents(harness)] == [
        InvoiceKind.INVOICE,
        InvoiceKind.CREDIT_NOTE,
    ]


@pytest.mark.parametrize(
    ("zone", "last", "first"),
    [
        ("Asia/Tokyo", "2026-03-04T14:59:59.999999", "2026-03-04T15:00:00"),
        ("America/New_York", "2026-03-09T03:59:59.999999", "2026-03-09T04:00:00"),
        ("America/New_York", "2026-11-02T04:59:59.999999", "2026-11-02T05:00:00"),
        ("UTC", "2024-02-29T23:59:59.999999", "2024-03-01T00:00:00"),
        ("UTC", "2024-02-28T23:59:59.999999", "2024-02-29T00:00:00"),
    ],
)
async def test_midnight_is_the_customers(memory_harness: Harness, zone: str, last: str, first: str) -> None:
    harness = memory_harness
    harness.customers.time_zones[SITE] = ZoneInfo(zone)
    harness.clock.now_us = local_time_us(last)
    before = (await harness.place(("CARD", 1))).transaction
    await harness.close_days()
    assert await issued_documents(harness) == []
    harness.clock.now_us = local_time_us(first)
    after = (await harness.place(("CARD", 1))).transaction
    assert before.purchase_order != after.purchase_order
    await harness.close_days()
    (invoice,) = await issued_documents(harness)
    assert invoice.draft.purchase_order == before.purchase_order


@pytest.mark.parametrize(
    ("zones", "expected"),
    [
        (("Asia/Tokyo", "America/New_York"), {"2026-03-05", "2026-03-04"}),
        (("America/New_York", "Asia/Tokyo"), {"2026-03-04", "2026-03-05"}),
    ],
)
async def test_a_customer_whose_zone_changes(
    memory_harness: Harness, zones: tuple[str, str], expected: set[str]
) -> None:
    """Days may repeat or be skipped; each transaction still is on one invoice."""
    harness = memory_harness
    harness.clock.now_us = local_time_us("2026-03-04T16:00:00")
    found = set()
    for zone in (*zones, *zones):
        harness.customers.time_zones[SITE] = ZoneInfo(zone)
        found.add((await harness.place(("CARD", 1))).transaction.business_date)
        await harness.close_days()
        harness.clock.advance(minutes=1)
    assert found >= expected
    harness.clock.advance(days=3)
    await harness.close_days()
    documents = await issued_documents(harness)
    assert sum(document.draft.transactions for document in documents) == 4
    assert len({document.draft.purchase_order for document in documents}) == len(documents)


@pytest.mark.parametrize("jumps", [(3, -3, 3), (-3, 3), (3, 3, -6, 3), (-3, -3, 6)])
async def test_a_clock_that_jumps_over_midnight_and_back(memory_harness: Harness, jumps: tuple[int, ...]) -> None:
    """F20: an order on a closed day joins the next one; each transaction is on one invoice."""
    harness = memory_harness
    harness.clock.now_us = local_time_us("2026-03-04T23:00:00")
    for hours in (*jumps, *jumps):
        await harness.place(("CARD", 1))
        await harness.close_days()
        harness.clock.advance(hours=hours)
    harness.clock.advance(days=3)
    await harness.close_days()
    await check_accounts(harness)
    documents = await issued_documents(harness)
    assert sum(document.draft.transactions for document in documents) == 2 * len(jumps)
    assert all(document.draft.total == Decimal("9.99") * document.draft.transactions for document in documents)


async def test_two_closers_and_twenty_orders_at_midnight(harness: Harness) -> None:
    await harness.place(("CARD", 1))
    harness.clock.now_us = local_time_us("2026-03-04T23:59:59.999999")

    async def place_around_midnight(number: int) -> str:
        if number % 2:
            harness.clock.now_us = local_time_us("2026-03-05T00:00:00")
        return (await harness.place(("CARD", number + 1))).transaction.id

    before = issued_invoice_count()
    await asyncio.gather(
        *(place_around_midnight(number) for number in range(20)), harness.close_days(), harness.close_days()
    )
    harness.clock.advance(days=1)
    await asyncio.gather(harness.close_days(), harness.close_days())
    await check_accounts(harness)
    assert issued_invoice_count() - before == len(await issued_documents(harness))
