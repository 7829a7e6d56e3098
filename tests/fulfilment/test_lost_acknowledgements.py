"""F17: MongoDB applies writes whose acknowledgements are lost."""

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


class LossyCollection:
    """A collection that applies every write, and reports a broken connection for every third one."""

    def __init__(self, collection: Any, random: Random, lost: Counter[str]) -> None:
        self._collection = collection
        self._random = random
        self._lost = lost

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self._collection, name)
        if name not in WRITES:
            return operation

        async def call(*arguments: Any, **options: Any) -> Any:
            result = await operation(*arguments, **options)
            if self._random.random() < 1 / 3:
                self._lost[name] += 1
                raise AutoReconnect("connection lost")
            return result

        return call


def lose_acknowledgements(harness: Harness, seed: int) -> Counter[str]:
    """Lose acknowledgements of all stores; returns the lost ones by operation."""
    random, lost = Random(seed), Counter[str]()  # noqa: S311 - repeatable
    for store, name in (
        (harness.purchase_orders, "_orders"),
        (harness.transactions, "_transactions"),
        (harness.stock, "_codes"),
        (harness.invoices, "_invoices"),
    ):
        setattr(store, name, LossyCollection(getattr(store, name), random, lost))
    return lost


async def retry_until_acknowledged(work: Callable[[], Awaitable[object]]) -> None:
    """Retry until acknowledged, as clients and background tasks do."""
    for _ in range(300):
        try:
            await work()
        except UnavailableError:
            continue
        return
    raise AssertionError("never acknowledged")


@pytest.mark.parametrize("seed", range(3))
async def test_everything_is_done_once_though_every_third_answer_is_lost(mongo_harness: Harness, seed: int) -> None:
    """Orders, workers and closers over several days.

    Must hold: each order is one transaction on one purchase order, a code is delivered once, totals and numbers are
    right (I5, I6). Checked on the stored data.
    """
    harness = mongo_harness
    await harness.load("CARD", *(f"c{n}" for n in range(10)))
    lost = lose_acknowledgements(harness, seed)
    ids = [f"t{n}" for n in range(6)]
    lines = [("CARD", 2), ("DEMO-CANCEL", 1), ("DEMO-INSTANT", 3)]
    # In pairs: what happens at one moment is one write, and few writes lose few answers.
    for pair in (ids[:2], ids[2:4], ids[4:]):
        placing = [partial(harness.place, *lines, transaction_id=name, is_retry=True) for name in pair]
        await asyncio.gather(*map(retry_until_acknowledged, placing))
    for _ in range(2):
        for pair in (ids[:2], ids[2:4], ids[4:]):
            await asyncio.gather(
                *(retry_until_acknowledged(partial(harness.fulfil, name)) for name in pair for _ in range(2))
            )
        harness.clock.advance(days=1)
        await asyncio.gather(retry_until_acknowledged(harness.close_days), retry_until_acknowledged(harness.close_days))
    harness.clock.advance(days=8)
    await asyncio.gather(*(retry_until_acknowledged(partial(harness.fulfil, name)) for name in ids))
    harness.clock.advance(days=1)
    await asyncio.gather(retry_until_acknowledged(harness.close_days), retry_until_acknowledged(harness.close_days))
    assert lost.total() > 20
    stored = await harness.transactions.find_page(TransactionQuery(site=SITE))
    assert sorted(transaction.id for transaction in stored) == ids
    assert {transaction.status for transaction in stored} == {TransactionStatus.PARTIALLY_COMPLETED}
    assert sum(line.delivered for transaction in stored for line in transaction.lines) == 10 + 18
    codes = [code for name in ids for code in (await harness.get_codes(name)).values()]
    assert len(codes) == len(set(codes)) == 28
    issued = await harness.invoices.find_page(InvoiceQuery(site=SITE))
    assert sum(document.draft.sequence == 0 for document in issued) == 1
    await check_accounts(harness)
