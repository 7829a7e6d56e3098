"""Concurrent operations, repeated: in memory under random interleavings and failures, and on MongoDB."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any

import pytest

from services.chassis.runtime.errors import UnavailableError
from services.fulfilment.domain.code import Code
from services.fulfilment.domain.listing import InvoiceQuery, TransactionQuery
from services.fulfilment.domain.order_request import InvalidRequestError
from services.fulfilment.domain.slots import UnitStatus
from services.fulfilment.domain.transaction import TransactionStatus
from services.fulfilment.flows import load_stock
from services.fulfilment.flows.place_order import ConflictingOrderError
from tests.fulfilment.billing_checks import check_accounts
from tests.fulfilment.fakes import Interference
from tests.fulfilment.harness import (
    SITE,
    Harness,
    build_memory_harness,
    local_time_us,
    open_mongo_harness,
    transactions_of,
)

SHORT_ROUNDS = 8
LONG_ROUNDS = 1_000
SEEDS = range(int(os.environ.get("FULFILMENT_SEEDS", "60")))


repeated = pytest.mark.parametrize(
    "rounds", [SHORT_ROUNDS, pytest.param(LONG_ROUNDS, marks=[pytest.mark.long, pytest.mark.timeout(1_800)])]
)


@pytest.fixture
async def harness(mongodb_uri: str) -> AsyncIterator[Harness]:
    async with open_mongo_harness(mongodb_uri, "motor") as opened:
        yield opened


@repeated
async def test_fifty_first_orders_of_a_day(harness: Harness, rounds: int) -> None:
    """Fifty first orders of a day at once: one purchase order with fifty transactions (F28, I6)."""
    for _ in range(rounds):
        placed = await asyncio.gather(*(harness.place(("CARD", 1)) for _ in range(50)))
        (order,) = {placed_order.transaction.purchase_order for placed_order in placed}
        assert len(await transactions_of(harness, order)) == 50
        harness.clock.advance(days=1)


@repeated
async def test_the_last_code(harness: Harness, rounds: int) -> None:
    """Two transactions and fifty readers race for the last code: one gets it, for all readers (F28, I5)."""
    for number in range(rounds):
        await harness.load("CARD", f"last-{number}")
        first, second = [(await harness.place(("CARD", 1))).transaction.id for _ in range(2)]
        found = await asyncio.gather(
            *(harness.get_codes(transaction_id) for _ in range(25) for transaction_id in (first, second))
        )
        now = [await harness.get_codes(transaction_id) for transaction_id in (first, second)]
        assert sorted(map(len, now)) == [0, 1]
        assert {code for codes in now for code in codes.values()} == {f"last-{number}"}
        for transaction_id, codes in zip([first, second] * 25, found, strict=True):
            assert codes.items() <= now[[first, second].index(transaction_id)].items()
        # The pending one ends at its deadline, so that it does not take the next round's code.
        harness.clock.advance(days=8)
        ended = [await harness.fulfil(transaction_id) for transaction_id in (first, second)]
        assert {transaction.status for transaction in ended if transaction} == {
            TransactionStatus.COMPLETED,
            TransactionStatus.CANCELLED,
        }


@repeated
async def test_a_code_is_taken_back_or_sold(harness: Harness, rounds: int) -> None:
    """Orders for forty codes while sixty are withdrawn: each code ends in one of the two places."""
    for number in range(rounds):
        codes = [Code(f"{number}-{n}") for n in range(60)]
        batch = await load_stock.load_codes("CARD", codes, harness.load_stock_deps)
        assert batch is not None
        ids = [(await harness.place(("CARD", 4))).transaction.id for _ in range(10)]
        withdrawn, _ = await asyncio.gather(
            harness.load_stock_deps.stock.withdraw_batch("CARD", batch.id),
            asyncio.gather(*map(harness.fulfil, ids)),
        )
        sold = [code for found in [await harness.get_codes(one) for one in ids] for code in found.values()]
        assert len(set(sold)) == len(sold)
        assert withdrawn + len(sold) + await harness.stock.count_available("CARD") == 60
        harness.clock.advance(days=8)
        for transaction_id in ids:
            await harness.fulfil(transaction_id)
        await harness.load_stock_deps.stock.withdraw_batch("CARD", batch.id)


@repeated
async def test_midnight(harness: Harness, rounds: int) -> None:
    """Two closers and twenty orders at midnight: each transaction on one purchase order and one invoice (I6)."""

    async def race(number: int) -> None:
        random = Random(number)  # noqa: S311 - repeatable
        harness.clock.advance(days=1)
        midnight = harness.clock() // 86_400_000_000 * 86_400_000_000
        harness.clock.now_us = midnight - 1
        await harness.place(("CARD", 1))

        async def ordering() -> None:
            for _ in range(random.randint(0, 3)):
                await asyncio.sleep(0)
            harness.clock.now_us = midnight
            await harness.place(("CARD", 1))

        harness.clock.now_us = midnight - 1
        orders = [harness.place(("CARD", 1)) for _ in range(10)]
        await asyncio.gather(*orders, *(ordering() for _ in range(10)), harness.close_days(), harness.close_days())

    for number in range(rounds):
        await race(number)
    harness.clock.advance(days=3)
    await asyncio.gather(harness.close_days(), harness.close_days())
    everything = await harness.transactions.find_page(TransactionQuery(site=SITE, rows=1_000_000))
    assert len(everything) == rounds * 21
    documents = await harness.invoices.find_page(InvoiceQuery(site=SITE, rows=1_000_000))
    assert sum(document.draft.transactions for document in documents) == rounds * 21
    await check_accounts(harness)


def unreliable(seed: int) -> tuple[Random, Interference]:
    """Interference that yields at random and fails now and then, sometimes after the effect."""
    random = Random(seed)  # noqa: S311 - repeatable

    def fails() -> str:
        return random.choice(("before", "after")) if random.random() < 0.03 else ""

    return random, Interference(yields=lambda: random.randint(0, 3), fails=fails)


async def retry_until_available(work: Callable[[], Awaitable[object]]) -> None:
    """Retry while a dependency is unavailable."""
    for _ in range(100):
        with suppress(UnavailableError):
            await work()
            return
    raise AssertionError("unavailable for ever")


@pytest.mark.parametrize("seed", SEEDS)
async def test_everything_at_once(seed: int) -> None:  # noqa: C901 - one story with four roles
    """Orders, readers, workers, closers and cancellations over three midnights, with lost writes: I5 and I6 hold."""
    random, interference = unreliable(seed)
    harness = build_memory_harness(interference)
    harness.clock.now_us = local_time_us("2026-12-30T23:59:59")
    await harness.load("CARD", *(f"c{n}" for n in range(12)))
    ids = [f"{seed}-{n}" for n in range(10)]
    disclosed: dict[str, dict[str, str]] = {}

    async def order(number: int) -> None:
        lines = [(random.choice(("CARD", "DEMO-CANCEL", "DEMO-NEVER")), random.randint(1, 3))]
        fields: dict[str, Any] = {"clientOrderNumber": f"n{number % 4}"} if number % 3 == 0 else {}
        own, is_retry = ids[number], False

        async def attempt() -> None:
            nonlocal is_retry
            try:
                await harness.place(*lines, transaction_id=own, is_retry=is_retry, **fields)
            except UnavailableError:
                is_retry = True
                raise
            except (ConflictingOrderError, InvalidRequestError):
                return

        await retry_until_available(attempt)

    async def look(number: int) -> None:
        async def attempt() -> None:
            if ids[number] not in harness.transactions.by_id:
                return
            codes = await harness.get_codes(ids[number])
            assert codes.items() >= disclosed.get(ids[number], {}).items()
            disclosed[ids[number]] = codes

        await retry_until_available(attempt)

    async def work() -> None:
        for transaction_id in await harness.transactions.claim_due(limit=10, lease_us=1):
            await retry_until_available(partial(harness.fulfil, transaction_id))

    for _ in range(3):
        jobs = [order(n) for n in range(10)] + [look(random.randrange(10)) for _ in range(6)] + [work(), work()]
        jobs += [retry_until_available(harness.close_days), retry_until_available(harness.close_days)]
        random.shuffle(jobs)
        tasks = [asyncio.ensure_future(job) for job in jobs]
        await asyncio.sleep(0)
        harness.clock.advance(seconds=random.choice((1, 3, 86_400)))
        await asyncio.gather(*tasks)
    for _ in range(3):
        harness.clock.advance(days=8)
        await work()
        await retry_until_available(harness.close_days)
    await check_invariants(harness, disclosed)


async def check_invariants(harness: Harness, disclosed: dict[str, dict[str, str]]) -> None:
    filled = [slot.slot for slot, _ in harness.stock.filled]
    assert len(set(filled)) == len(filled)
    digests = [sealed.digest for _, sealed in harness.stock.filled if sealed]
    assert len(set(digests)) == len(digests)
    assert all(transaction.is_final for transaction in harness.transactions.by_id.values())
    for transaction in harness.transactions.by_id.values():
        for number, line in enumerate(transaction.lines):
            found = [slot for slot, _ in harness.stock.in_line(transaction.id, number)]
            delivered = sum(slot.status is UnitStatus.COMPLETED for slot in found)
            assert (len(found), delivered, line.cancelled) == (line.quantity, line.delivered, line.quantity - delivered)
    for transaction_id, codes in disclosed.items():
        for _ in range(20):
            with suppress(UnavailableError):
                assert (await harness.get_codes(transaction_id)).items() >= codes.items()
                break
    sequences = [
        (transaction.purchase_order, transaction.sequence) for transaction in harness.transactions.by_id.values()
    ]
    assert len(set(sequences)) == len(sequences)
    numbers = [
        transaction.client_order_number
        for transaction in harness.transactions.by_id.values()
        if transaction.client_order_number
    ]
    assert len(set(numbers)) == len(numbers)
    for store in (harness.transactions, harness.invoices, harness.purchase_orders):
        store.interference = Interference()
    await check_accounts(harness)
    invoiced = {document.draft.purchase_order for document in harness.invoices.issued}
    assert invoiced == {transaction.purchase_order for transaction in harness.transactions.by_id.values()}
