"""Placing orders, on every kind of store."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import uuid4

import pytest
from msgspec.structs import replace

from services.fulfilment.domain.listing import InvoiceQuery, PageCursor, TransactionQuery
from services.fulfilment.domain.order_request import InvalidRequestError
from services.fulfilment.domain.product import Product
from services.fulfilment.domain.purchase_order import PurchaseOrder, PurchaseOrderState
from services.fulfilment.flows.place_order import ConflictingOrderError
from tests.fulfilment.harness import (
    OTHER_SITE,
    SECOND_US,
    SITE,
    Harness,
    local_time_us,
    open_mongo_harness,
    transactions_of,
)


async def list_ids(harness: Harness, **filters: object) -> list[str]:
    found = await harness.transactions.find_page(TransactionQuery(site=SITE, **filters))  # type: ignore[arg-type]
    return [transaction.id for transaction in found]


async def test_two_orders_of_a_day_share_a_purchase_order(harness: Harness) -> None:
    first, second = [(await harness.place(("CARD", 1))).transaction for _ in range(2)]
    assert first.purchase_order == second.purchase_order
    assert sorted((first.sequence, second.sequence)) == [1, 2]
    stored = await harness.transactions.find(first.id)
    assert stored == first
    assert await harness.purchase_orders.list_by_day(SITE, "2026-03-04") == [
        PurchaseOrder(site=SITE, business_date="2026-03-04", currency="USD", last_sequence=2)
    ]


async def test_currencies_customers_and_days_have_purchase_orders_of_their_own(harness: Harness) -> None:
    found = {(await harness.place(("CARD", 1))).transaction.purchase_order}
    found.add((await harness.place(("CARD-EUR", 1))).transaction.purchase_order)
    found.add((await harness.place(("CARD", 1), site=OTHER_SITE)).transaction.purchase_order)
    harness.clock.advance(days=1)
    found.add((await harness.place(("CARD", 1))).transaction.purchase_order)
    assert len(found) == 4


async def test_what_is_refused_leaves_nothing(harness: Harness) -> None:
    with pytest.raises(InvalidRequestError):
        await harness.place(("CARD", 1), ("NONE", 1))
    assert await list_ids(harness) == []
    assert await harness.purchase_orders.list_by_day(SITE, "2026-03-04") == []


async def test_the_same_number_is_the_same_order(harness: Harness) -> None:
    first = await harness.place(("CARD", 1), ("PENNY", 2), clientOrderNumber="n-1")
    again = await harness.place(("PENNY", 2), ("CARD", 1), clientOrderNumber="n-1", payWithCurrency="USD")
    assert (again.is_duplicate, again.transaction) == (True, first.transaction)
    for lines in (
        [("CARD", 2)],
        [("CARD", 1)],
        [("CARD", 1), ("PENNY", 2), ("DEMO-NEVER", 1)],
        [("CARD", 1), ("PENNY", 1)],
    ):
        with pytest.raises(ConflictingOrderError):
            await harness.place(*lines, clientOrderNumber="n-1")
    with pytest.raises(ConflictingOrderError):
        await harness.place(("CARD", 1), ("PENNY", 2), clientOrderNumber="n-1", payWithCurrency="EUR")
    assert await list_ids(harness) == [first.transaction.id]


async def test_a_number_is_its_customers_own(harness: Harness) -> None:
    await harness.place(("CARD", 1), clientOrderNumber="n-1")
    assert not (await harness.place(("CARD", 1), site=OTHER_SITE, clientOrderNumber="n-1")).is_duplicate


async def test_a_duplicate_is_found_when_its_product_is_gone(harness: Harness) -> None:
    first = await harness.place(("CARD", 1), clientOrderNumber="n-1")
    known = (await harness.products.find(["CARD"]))["CARD"]
    await harness.products.put(replace(known, is_withdrawn=True))
    again = await harness.place(("CARD", 1), clientOrderNumber="n-1")
    assert again.transaction == first.transaction
    with pytest.raises(InvalidRequestError):
        await harness.place(("CARD", 1), clientOrderNumber="n-2")


async def test_an_unchecked_order_is_never_a_duplicate(harness: Harness) -> None:
    unchecked: dict[str, Any] = {"clientOrderNumber": "n-1", "enableClientOrderNumberDupCheck": False}
    found = [await harness.place(("CARD", 1), **unchecked) for _ in range(3)]
    assert len({placed_order.transaction.id for placed_order in found}) == 3
    # An order with the check is a duplicate of the first of them.
    harness.clock.advance(seconds=1)
    checked = await harness.place(("CARD", 1), clientOrderNumber="n-1")
    assert checked.is_duplicate


async def test_a_retry_under_the_same_id_is_the_same_transaction(harness: Harness) -> None:
    own = str(uuid4())
    first = await harness.place(("CARD", 1), transaction_id=own, clientOrderNumber="n-1")
    again = await harness.place(("CARD", 1), transaction_id=own, clientOrderNumber="n-1", is_retry=True)
    assert (again.is_duplicate, again.transaction) == (False, first.transaction)
    # Even one that is not marked as a retry.
    third = await harness.place(("CARD", 1), transaction_id=own)
    assert third.transaction == first.transaction
    assert await list_ids(harness) == [own]


async def test_an_order_that_meets_a_closed_day_goes_to_the_next(harness: Harness) -> None:
    first = (await harness.place(("CARD", 1))).transaction
    assert await harness.purchase_orders.begin_closing(first.purchase_order)
    second = (await harness.place(("CARD", 1))).transaction
    assert (first.business_date, second.business_date) == ("2026-03-04", "2026-03-05")
    await harness.purchase_orders.finish_closing(first.purchase_order)
    third = (await harness.place(("CARD", 1))).transaction
    assert third.purchase_order == second.purchase_order
    assert await harness.purchase_orders.begin_closing(first.purchase_order) is None


async def test_a_voided_sequence_number_sends_the_order_to_the_next_day(harness: Harness) -> None:
    order = PurchaseOrder(site=SITE, business_date="2026-03-04", currency="USD")
    reserve_sequence = harness.purchase_orders.reserve_sequence

    async def reserve_and_close(requested: PurchaseOrder) -> int | None:
        """Close the day between reserving and storing."""
        reserved: int | None = await reserve_sequence(requested)
        if requested.id == order.id and reserved is not None:
            closing = await harness.purchase_orders.begin_closing(order.id)
            for sequence in await harness.transactions.unused_sequences(closing):
                await harness.transactions.void_sequence(order.id, sequence)
        return reserved

    harness.purchase_orders.reserve_sequence = reserve_and_close
    placed = (await harness.place(("CARD", 1))).transaction
    assert placed.business_date == "2026-03-05"
    assert await transactions_of(harness, order.id) == []
    found = await harness.purchase_orders.find(order.id)
    assert (found.state, await harness.transactions.unused_sequences(found)) == (PurchaseOrderState.CLOSING, [])


async def test_transactions_are_listed_newest_first(harness: Harness) -> None:
    ids: list[str] = []
    for number in range(5):
        placed = await harness.place(("CARD", 1), clientOrderNumber=f"n-{number}")
        ids.insert(0, placed.transaction.id)
        harness.clock.advance(seconds=number % 2)
    everything = await list_ids(harness)
    assert sorted(everything) == sorted(ids)
    assert everything[0] == ids[0]
    walked: list[str] = []
    after = None
    while page := (await harness.transactions.find_page(TransactionQuery(site=SITE, rows=2, after=after)))[:2]:
        walked += [transaction.id for transaction in page]
        after = PageCursor(page[-1].created_us, page[-1].id)
    assert walked == everything
    assert await list_ids(harness, client_order_number="n-3") == [ids[1]]
    assert await list_ids(harness, transaction_id=ids[2]) == [ids[2]]
    assert await list_ids(harness, from_us=local_time_us("2026-03-04T12:00:02")) == [ids[0]]
    assert sorted(await list_ids(harness, to_us=local_time_us("2026-03-04T12:00:01"))) == sorted(ids[3:])
    assert await harness.transactions.find_for_site(OTHER_SITE, ids[0]) is None


async def test_fifty_first_orders_at_once_make_one_purchase_order(harness: Harness) -> None:
    placed = await asyncio.gather(*(harness.place(("CARD", 1)) for _ in range(50)))
    (order,) = await harness.purchase_orders.list_by_day(SITE, "2026-03-04")
    assert {placed_order.transaction.purchase_order for placed_order in placed} == {order.id}
    assert sorted(placed_order.transaction.sequence for placed_order in placed) == list(range(1, 51))
    assert order.last_sequence == 50


async def test_the_same_number_twenty_times_at_once_is_one_transaction(harness: Harness) -> None:
    placed = await asyncio.gather(*(harness.place(("CARD", 1), clientOrderNumber="n-1") for _ in range(20)))
    assert len({placed_order.transaction.id for placed_order in placed}) == 1
    assert sum(not placed_order.is_duplicate for placed_order in placed) == 1
    # Unused sequence numbers are voided when the day is closed.
    harness.clock.advance(days=1)
    await harness.close_days()
    (invoice,) = await harness.invoices.find_page(InvoiceQuery(site=SITE))
    assert invoice.draft.transactions == 1


async def test_an_order_belongs_to_the_instant_at_which_it_came(memory_harness: Harness) -> None:
    """Its day, its time and its deadline do not depend on when it is stored."""
    harness, find = memory_harness, memory_harness.products.find
    harness.clock.now_us = came_us = local_time_us("2026-03-04T23:59:59.999999")

    async def slowly(skus: Iterable[str]) -> Mapping[str, Product]:
        harness.clock.advance(hours=1)
        found: Mapping[str, Product] = await find(skus)
        return found

    harness.products.find = slowly
    placed = (await harness.place(("CARD", 1))).transaction
    assert (placed.business_date, placed.created_us) == ("2026-03-04", came_us)
    assert placed.deadline_us - came_us == 7 * 86_400 * SECOND_US


async def test_the_relay_is_woken_for_every_event(mongodb_uri: str) -> None:
    """Placed, counted and invoiced; repeating them writes no event."""
    writes: list[None] = []
    async with open_mongo_harness(mongodb_uri, "motor", on_outbox_write=lambda: writes.append(None)) as harness:

        async def place() -> None:
            await harness.place(("DEMO-INSTANT", 1), transaction_id="own", clientOrderNumber="n")

        async def fulfil() -> None:
            await harness.fulfil("own")

        counts = []
        for work in (place, place, fulfil, fulfil, harness.close_days, harness.close_days):
            if work == harness.close_days:
                harness.clock.advance(days=1)
            await work()
            counts.append(len(writes))
    assert counts == [1, 1, 2, 2, 3, 3]
