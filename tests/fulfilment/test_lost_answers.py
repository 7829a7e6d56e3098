"""F17: MongoDB does what it is asked, and its answer is lost."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random
from typing import Any

import pytest
from pymongo.errors import AutoReconnect

from services.chassis.runtime.errors import UnavailableError
from services.fulfilment.domain.listing import InvoicesAsked, TransactionsAsked
from services.fulfilment.domain.transaction import Status
from tests.fulfilment.billing_side import check_accounts
from tests.fulfilment.shop import SITE, Shop

WRITES = frozenset({"insert_one", "insert_many", "update_one", "update_many", "find_one_and_update", "bulk_write"})


class Mumbling:
    """A collection that does everything, and tells of every third write only that the connection broke."""

    def __init__(self, collection: Any, dice: Random, lost: Counter[str]) -> None:
        self._collection = collection
        self._dice = dice
        self._lost = lost

    def __getattr__(self, name: str) -> Any:
        called = getattr(self._collection, name)
        if name not in WRITES:
            return called

        async def call(*arguments: Any, **options: Any) -> Any:
            answer = await called(*arguments, **options)
            if self._dice.random() < 1 / 3:
                self._lost[name] += 1
                raise AutoReconnect("the answer is lost")
            return answer

        return call


def mumble(shop: Shop, seed: int) -> Counter[str]:
    """Let the shop's stores mumble; what was lost."""
    dice, lost = Random(seed), Counter[str]()  # noqa: S311 - chance that can be repeated
    for store, name in (
        (shop.orders, "_orders"),
        (shop.transactions, "_transactions"),
        (shop.stock, "_codes"),
        (shop.invoices, "_invoices"),
    ):
        setattr(store, name, Mumbling(getattr(store, name), dice, lost))
    return lost


async def until_told(work: Callable[[], Awaitable[object]]) -> None:
    """Do it until it is confirmed, as clients, workers and closers do."""
    for _ in range(300):
        try:
            await work()
        except UnavailableError:
            continue
        return
    raise AssertionError("never confirmed")


@pytest.mark.parametrize("seed", range(3))
async def test_everything_is_done_once_though_every_third_answer_is_lost(mongo_shop: Shop, seed: int) -> None:
    """Orders, workers and closers over several days.

    Must hold: each order is one transaction on one purchase order, a code is given once, sums and numbers are right
    (I5, I6). Known by what is stored in the end.
    """
    shop = mongo_shop
    await shop.load("CARD", *(f"c{n}" for n in range(10)))
    lost = mumble(shop, seed)
    ids = [f"t{n}" for n in range(6)]
    lines = [("CARD", 2), ("DEMO-CANCEL", 1), ("DEMO-INSTANT", 3)]
    await asyncio.gather(*(until_told(partial(shop.place, *lines, transaction_id=name, is_retry=True)) for name in ids))
    for _ in range(2):
        await asyncio.gather(*(until_told(partial(shop.fulfil, name)) for name in ids for _ in range(2)))
        shop.clock.pass_(days=1)
        await asyncio.gather(until_told(shop.close), until_told(shop.close))
    shop.clock.pass_(days=8)
    await asyncio.gather(*(until_told(partial(shop.fulfil, name)) for name in ids))
    shop.clock.pass_(days=1)
    await asyncio.gather(until_told(shop.close), until_told(shop.close))
    assert lost.total() > 20
    stored = await shop.transactions.listed(TransactionsAsked(site=SITE))
    assert sorted(one.id for one in stored) == ids
    assert {one.status for one in stored} == {Status.PARTIALLY_COMPLETED}
    assert sum(line.delivered for one in stored for line in one.lines) == 10 + 18
    codes = [code for name in ids for code in (await shop.codes(name)).values()]
    assert len(codes) == len(set(codes)) == 28
    issued = await shop.invoices.listed(InvoicesAsked(site=SITE))
    assert sum(one.draft.turn == 0 for one in issued) == 1
    await check_accounts(shop)
