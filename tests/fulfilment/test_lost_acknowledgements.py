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
from services.fulfilment.domain.listing import InvoiceQuery, TransactionQuery
from services.fulfilment.domain.transaction import TransactionStatus
from tests.fulfilment.billing_checks import check_accounts
from tests.fulfilment.harness import SITE, Harness

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


def mumble(harness: Harness, seed: int) -> Counter[str]:
    """Let the harness's stores mumble; what was lost."""
    dice, lost = Random(seed), Counter[str]()  # noqa: S311 - repeatable
    for store, name in (
        (harness.purchase_orders, "_orders"),
        (harness.transactions, "_transactions"),
        (harness.stock, "_codes"),
        (harness.invoices, "_invoices"),
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
async def test_everything_is_done_once_though_every_third_answer_is_lost(mongo_harness: Harness, seed: int) -> None:
    """Orders, workers and closers over several days.

    Must hold: each order is one transaction on one purchase order, a code is given once, sums and numbers are right
    (I5, I6). Known by what is stored in the end.
    """
    harness = mongo_harness
    await harness.load("CARD", *(f"c{n}" for n in range(10)))
    lost = mumble(harness, seed)
    ids = [f"t{n}" for n in range(6)]
    lines = [("CARD", 2), ("DEMO-CANCEL", 1), ("DEMO-INSTANT", 3)]
    await asyncio.gather(
        *(until_told(partial(harness.place, *lines, transaction_id=name, is_retry=True)) for name in ids)
    )
    for _ in range(2):
        await asyncio.gather(*(until_told(partial(harness.fulfil, name)) for name in ids for _ in range(2)))
        harness.clock.advance(days=1)
        await asyncio.gather(until_told(harness.close), until_told(harness.close))
    harness.clock.advance(days=8)
    await asyncio.gather(*(until_told(partial(harness.fulfil, name)) for name in ids))
    harness.clock.advance(days=1)
    await asyncio.gather(until_told(harness.close), until_told(harness.close))
    assert lost.total() > 20
    stored = await harness.transactions.find_page(TransactionQuery(site=SITE))
    assert sorted(one.id for one in stored) == ids
    assert {one.status for one in stored} == {TransactionStatus.PARTIALLY_COMPLETED}
    assert sum(line.delivered for one in stored for line in one.lines) == 10 + 18
    codes = [code for name in ids for code in (await harness.codes(name)).values()]
    assert len(codes) == len(set(codes)) == 28
    issued = await harness.invoices.find_page(InvoiceQuery(site=SITE))
    assert sum(one.draft.sequence == 0 for one in issued) == 1
    await check_accounts(harness)
