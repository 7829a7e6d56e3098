"""Placing an order, on every kind of store."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import uuid4

import pytest
from msgspec.structs import replace

from services.fulfilment.domain.listing import After, InvoicesAsked, TransactionsAsked
from services.fulfilment.domain.ordering import Refused
from services.fulfilment.domain.product import Product
from services.fulfilment.domain.purchase_order import PurchaseOrder, Stage
from services.fulfilment.flows.place_order import OtherContent
from tests.fulfilment.shop import OTHER_SITE, SITE, US, Shop, a_mongo_shop, at


async def listed(shop: Shop, **asked: object) -> list[str]:
    found = await shop.transactions.listed(TransactionsAsked(site=SITE, **asked))  # type: ignore[arg-type]
    return [one.id for one in found]


async def test_two_orders_of_a_day_share_a_purchase_order(shop: Shop) -> None:
    one, two = [(await shop.place(("CARD", 1))).transaction for _ in range(2)]
    assert one.purchase_order == two.purchase_order
    assert sorted((one.place, two.place)) == [1, 2]
    stored = await shop.transactions.find(one.id)
    assert stored == one
    assert await shop.orders.of_day(SITE, "2026-03-04") == [
        PurchaseOrder(site=SITE, business_date="2026-03-04", currency="USD", places=2)
    ]


async def test_currencies_customers_and_days_have_purchase_orders_of_their_own(shop: Shop) -> None:
    found = {(await shop.place(("CARD", 1))).transaction.purchase_order}
    found.add((await shop.place(("CARD-EUR", 1))).transaction.purchase_order)
    found.add((await shop.place(("CARD", 1), site=OTHER_SITE)).transaction.purchase_order)
    shop.clock.pass_(days=1)
    found.add((await shop.place(("CARD", 1))).transaction.purchase_order)
    assert len(found) == 4


async def test_what_is_refused_leaves_nothing(shop: Shop) -> None:
    with pytest.raises(Refused):
        await shop.place(("CARD", 1), ("NONE", 1))
    assert await listed(shop) == []
    assert await shop.orders.of_day(SITE, "2026-03-04") == []


async def test_the_same_number_is_the_same_order(shop: Shop) -> None:
    first = await shop.place(("CARD", 1), ("PENNY", 2), clientOrderNumber="n-1")
    again = await shop.place(("PENNY", 2), ("CARD", 1), clientOrderNumber="n-1", payWithCurrency="USD")
    assert (again.is_duplicate, again.transaction) == (True, first.transaction)
    for lines in (
        [("CARD", 2)],
        [("CARD", 1)],
        [("CARD", 1), ("PENNY", 2), ("DEMO-NEVER", 1)],
        [("CARD", 1), ("PENNY", 1)],
    ):
        with pytest.raises(OtherContent):
            await shop.place(*lines, clientOrderNumber="n-1")
    with pytest.raises(OtherContent):
        await shop.place(("CARD", 1), ("PENNY", 2), clientOrderNumber="n-1", payWithCurrency="EUR")
    assert await listed(shop) == [first.transaction.id]


async def test_a_number_is_its_customers_own(shop: Shop) -> None:
    await shop.place(("CARD", 1), clientOrderNumber="n-1")
    assert not (await shop.place(("CARD", 1), site=OTHER_SITE, clientOrderNumber="n-1")).is_duplicate


async def test_a_duplicate_is_found_when_its_product_is_gone(shop: Shop) -> None:
    first = await shop.place(("CARD", 1), clientOrderNumber="n-1")
    known = (await shop.products.find(["CARD"]))["CARD"]
    await shop.products.put(replace(known, is_withdrawn=True))
    again = await shop.place(("CARD", 1), clientOrderNumber="n-1")
    assert again.transaction == first.transaction
    with pytest.raises(Refused):
        await shop.place(("CARD", 1), clientOrderNumber="n-2")


async def test_an_unchecked_order_is_never_a_duplicate(shop: Shop) -> None:
    unchecked: dict[str, Any] = {"clientOrderNumber": "n-1", "enableClientOrderNumberDupCheck": False}
    found = [await shop.place(("CARD", 1), **unchecked) for _ in range(3)]
    assert len({one.transaction.id for one in found}) == 3
    # Whoever wants the check is told of the first of them.
    shop.clock.pass_(seconds=1)
    checked = await shop.place(("CARD", 1), clientOrderNumber="n-1")
    assert checked.is_duplicate


async def test_a_retry_under_the_same_id_is_the_same_transaction(shop: Shop) -> None:
    own = str(uuid4())
    first = await shop.place(("CARD", 1), transaction_id=own, clientOrderNumber="n-1")
    again = await shop.place(("CARD", 1), transaction_id=own, clientOrderNumber="n-1", is_retry=True)
    assert (again.is_duplicate, again.transaction) == (False, first.transaction)
    # Even one that does not know of being a retry.
    third = await shop.place(("CARD", 1), transaction_id=own)
    assert third.transaction == first.transaction
    assert await listed(shop) == [own]


async def test_an_order_that_meets_a_closed_day_goes_to_the_next(shop: Shop) -> None:
    first = (await shop.place(("CARD", 1))).transaction
    assert await shop.orders.begin_closing(first.purchase_order)
    second = (await shop.place(("CARD", 1))).transaction
    assert (first.business_date, second.business_date) == ("2026-03-04", "2026-03-05")
    await shop.orders.finish_closing(first.purchase_order)
    third = (await shop.place(("CARD", 1))).transaction
    assert third.purchase_order == second.purchase_order
    assert await shop.orders.begin_closing(first.purchase_order) is None


async def test_a_blocked_place_sends_the_order_to_the_next_day(shop: Shop) -> None:
    order = PurchaseOrder(site=SITE, business_date="2026-03-04", currency="USD")
    enter = shop.orders.enter

    async def enter_slowly(wanted: PurchaseOrder) -> int | None:
        """The day is closed between entering and storing."""
        place: int | None = await enter(wanted)
        if wanted.id == order.id and place is not None:
            closing = await shop.orders.begin_closing(order.id)
            for free in await shop.transactions.free_places(closing):
                await shop.transactions.block(order.id, free)
        return place

    shop.orders.enter = enter_slowly
    placed = (await shop.place(("CARD", 1))).transaction
    assert placed.business_date == "2026-03-05"
    assert await shop.transactions.on_order(order.id) == []
    found = await shop.orders.find(order.id)
    assert (found.stage, await shop.transactions.free_places(found)) == (Stage.CLOSING, [])


async def test_transactions_are_listed_newest_first(shop: Shop) -> None:
    ids: list[str] = []
    for number in range(5):
        placed = await shop.place(("CARD", 1), clientOrderNumber=f"n-{number}")
        ids.insert(0, placed.transaction.id)
        shop.clock.pass_(seconds=number % 2)
    everything = await listed(shop)
    assert sorted(everything) == sorted(ids)
    assert everything[0] == ids[0]
    walked: list[str] = []
    after = None
    while page := (await shop.transactions.listed(TransactionsAsked(site=SITE, rows=2, after=after)))[:2]:
        walked += [one.id for one in page]
        after = After(page[-1].created_us, page[-1].id)
    assert walked == everything
    assert await listed(shop, client_order_number="n-3") == [ids[1]]
    assert await listed(shop, transaction_id=ids[2]) == [ids[2]]
    assert await listed(shop, from_us=at("2026-03-04T12:00:02")) == [ids[0]]
    assert sorted(await listed(shop, to_us=at("2026-03-04T12:00:01"))) == sorted(ids[3:])
    assert await shop.transactions.shown(OTHER_SITE, ids[0]) is None


async def test_fifty_first_orders_at_once_make_one_purchase_order(shop: Shop) -> None:
    placed = await asyncio.gather(*(shop.place(("CARD", 1)) for _ in range(50)))
    (order,) = await shop.orders.of_day(SITE, "2026-03-04")
    assert {one.transaction.purchase_order for one in placed} == {order.id}
    assert sorted(one.transaction.place for one in placed) == list(range(1, 51))
    assert order.places == 50


async def test_the_same_number_twenty_times_at_once_is_one_transaction(shop: Shop) -> None:
    placed = await asyncio.gather(*(shop.place(("CARD", 1), clientOrderNumber="n-1") for _ in range(20)))
    assert len({one.transaction.id for one in placed}) == 1
    assert sum(not one.is_duplicate for one in placed) == 1
    # Places that were given in vain are found when the day is closed.
    shop.clock.pass_(days=1)
    await shop.close()
    (invoice,) = await shop.invoices.listed(InvoicesAsked(site=SITE))
    assert invoice.draft.transactions == 1


async def test_an_order_belongs_to_the_instant_at_which_it_came(memory_shop: Shop) -> None:
    """Its day, its time and its deadline, however long it takes until it is stored."""
    shop, find = memory_shop, memory_shop.products.find
    shop.clock.now_us = came_us = at("2026-03-04T23:59:59.999999")

    async def slowly(skus: Iterable[str]) -> Mapping[str, Product]:
        shop.clock.pass_(hours=1)
        found: Mapping[str, Product] = await find(skus)
        return found

    shop.products.find = slowly
    placed = (await shop.place(("CARD", 1))).transaction
    assert (placed.business_date, placed.created_us) == ("2026-03-04", came_us)
    assert placed.deadline_us - came_us == 7 * 86_400 * US


async def test_the_relay_is_told_of_every_event(mongodb_uri: str) -> None:
    """Placed, counted and invoiced; doing it again tells of nothing."""
    told: list[None] = []
    async with a_mongo_shop(mongodb_uri, "motor", announce=lambda: told.append(None)) as shop:

        async def place() -> None:
            await shop.place(("DEMO-INSTANT", 1), transaction_id="own", clientOrderNumber="n")

        async def fulfil() -> None:
            await shop.fulfil("own")

        counts = []
        for work in (place, place, fulfil, fulfil, shop.close, shop.close):
            if work == shop.close:
                shop.clock.pass_(days=1)
            await work()
            counts.append(len(told))
    assert counts == [1, 1, 2, 2, 3, 3]
