"""Many at once, again and again: in memory under random interleavings and failures, on MongoDB for real."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any

import pytest

from services.chassis.runtime.errors import UnavailableError
from services.fulfilment.domain.listing import InvoiceQuery, TransactionQuery
from services.fulfilment.domain.order_request import InvalidRequestError
from services.fulfilment.domain.slots import UnitStatus
from services.fulfilment.domain.transaction import TransactionStatus
from services.fulfilment.flows.place_order import ConflictingOrderError
from tests.fulfilment.billing_checks import check_accounts
from tests.fulfilment.fakes import Interference
from tests.fulfilment.harness import SITE, Harness, build_memory_harness, local_time_us, open_mongo_harness

SHORT = 8
LONG = 1_000
SEEDS = range(int(os.environ.get("FULFILMENT_SEEDS", "60")))


again_and_again = pytest.mark.parametrize(
    "rounds", [SHORT, pytest.param(LONG, marks=[pytest.mark.long, pytest.mark.timeout(1_800)])]
)


@pytest.fixture
async def harness(mongodb_uri: str) -> AsyncIterator[Harness]:
    async with open_mongo_harness(mongodb_uri, "motor") as opened:
        yield opened


@again_and_again
async def test_fifty_first_orders_of_a_day(harness: Harness, rounds: int) -> None:
    """Fifty first orders of a day at once: one purchase order with fifty transactions (F28, I6)."""
    for _ in range(rounds):
        placed = await asyncio.gather(*(harness.place(("CARD", 1)) for _ in range(50)))
        (order,) = {one.transaction.purchase_order for one in placed}
        assert len(await harness.transactions.list_by_purchase_order(order)) == 50
        harness.clock.advance(days=1)


@again_and_again
async def test_the_last_code(harness: Harness, rounds: int) -> None:
    """Two transactions and fifty readers race for the last code: one gets it, whoever asks (F28, I5)."""
    for number in range(rounds):
        await harness.load("CARD", f"last-{number}")
        one, two = [(await harness.place(("CARD", 1))).transaction.id for _ in range(2)]
        found = await asyncio.gather(*(harness.codes(who) for _ in range(25) for who in (one, two)))
        now = [await harness.codes(who) for who in (one, two)]
        assert sorted(map(len, now)) == [0, 1]
        assert {code for codes in now for code in codes.values()} == {f"last-{number}"}
        for who, codes in zip([one, two] * 25, found, strict=True):
            assert codes.items() <= now[[one, two].index(who)].items()
        # The loser is given up, so that it does not take the next round's code.
        harness.clock.advance(days=8)
        ended = [await harness.fulfil(who) for who in (one, two)]
        assert {transaction.status for transaction in ended if transaction} == {
            TransactionStatus.COMPLETED,
            TransactionStatus.CANCELLED,
        }


@again_and_again
async def test_midnight(harness: Harness, rounds: int) -> None:
    """Two closers and twenty orders at midnight: each transaction on one purchase order and one invoice (I6)."""

    async def race(number: int) -> None:
        dice = Random(number)  # noqa: S311 - repeatable
        harness.clock.advance(days=1)
        midnight = harness.clock() // 86_400_000_000 * 86_400_000_000
        harness.clock.now_us = midnight - 1
        await harness.place(("CARD", 1))

        async def ordering() -> None:
            for _ in range(dice.randint(0, 3)):
                await asyncio.sleep(0)
            harness.clock.now_us = midnight
            await harness.place(("CARD", 1))

        harness.clock.now_us = midnight - 1
        orders = [harness.place(("CARD", 1)) for _ in range(10)]
        await asyncio.gather(*orders, *(ordering() for _ in range(10)), harness.close(), harness.close())

    for number in range(rounds):
        await race(number)
    harness.clock.advance(days=3)
    await asyncio.gather(harness.close(), harness.close())
    everything = await harness.transactions.find_page(TransactionQuery(site=SITE, rows=1_000_000))
    assert len(everything) == rounds * 21
    documents = await harness.invoices.find_page(InvoiceQuery(site=SITE, rows=1_000_000))
    assert sum(one.draft.transactions for one in documents) == rounds * 21
    await check_accounts(harness)


def unreliable(seed: int) -> tuple[Random, Interference]:
    """A world that gives turns away at random and fails once in a while, sometimes after the deed."""
    dice = Random(seed)  # noqa: S311 - repeatable

    def fails() -> str:
        return dice.choice(("before", "after")) if dice.random() < 0.03 else ""

    return dice, Interference(yields=lambda: dice.randint(0, 3), fails=fails)


async def stubborn(work: Callable[[], Awaitable[object]]) -> None:
    """Whoever is told that something is away tries again."""
    for _ in range(100):
        with suppress(UnavailableError):
            await work()
            return
    raise AssertionError("away for ever")


@pytest.mark.parametrize("seed", SEEDS)
async def test_everything_at_once(seed: int) -> None:  # noqa: C901 - one story with four roles
    """Orders, readers, workers, closers and cancellations over three midnights, with lost answers: I5 and I6 hold."""
    dice, chance = unreliable(seed)
    harness = build_memory_harness(chance)
    harness.clock.now_us = local_time_us("2026-12-30T23:59:59")
    await harness.load("CARD", *(f"c{n}" for n in range(12)))
    ids = [f"{seed}-{n}" for n in range(10)]
    seen: dict[str, dict[str, str]] = {}

    async def order(number: int) -> None:
        lines = [(dice.choice(("CARD", "DEMO-CANCEL", "DEMO-NEVER")), dice.randint(1, 3))]
        more: dict[str, Any] = {"clientOrderNumber": f"n{number % 4}"} if number % 3 == 0 else {}
        own, is_retry = ids[number], False

        async def attempt() -> None:
            nonlocal is_retry
            try:
                await harness.place(*lines, transaction_id=own, is_retry=is_retry, **more)
            except UnavailableError:
                is_retry = True
                raise
            except (ConflictingOrderError, InvalidRequestError):
                return

        await stubborn(attempt)

    async def look(number: int) -> None:
        async def attempt() -> None:
            if ids[number] not in harness.transactions.by_id:
                return
            codes = await harness.codes(ids[number])
            assert codes.items() >= seen.get(ids[number], {}).items()
            seen[ids[number]] = codes

        await stubborn(attempt)

    async def work() -> None:
        for transaction_id in await harness.transactions.claim_due(limit=10, lease_us=1):
            await stubborn(partial(harness.fulfil, transaction_id))

    for _ in range(3):
        jobs = [order(n) for n in range(10)] + [look(dice.randrange(10)) for _ in range(6)] + [work(), work()]
        jobs += [stubborn(harness.close), stubborn(harness.close)]
        dice.shuffle(jobs)
        tasks = [asyncio.ensure_future(job) for job in jobs]
        await asyncio.sleep(0)
        harness.clock.advance(seconds=dice.choice((1, 3, 86_400)))
        await asyncio.gather(*tasks)
    for _ in range(3):
        harness.clock.advance(days=8)
        await work()
        await stubborn(harness.close)
    await everything_is_right(harness, seen)


async def everything_is_right(harness: Harness, seen: dict[str, dict[str, str]]) -> None:
    filled = [one.slot for one, _ in harness.stock.filling]
    assert len(set(filled)) == len(filled)
    digests = [sealed.digest for _, sealed in harness.stock.filling if sealed]
    assert len(set(digests)) == len(digests)
    assert all(one.is_final for one in harness.transactions.by_id.values())
    for transaction in harness.transactions.by_id.values():
        for number, line in enumerate(transaction.lines):
            found = [one for one, _ in harness.stock._within(transaction.id, number)]
            delivered = sum(one.status is UnitStatus.COMPLETED for one in found)
            assert (len(found), delivered, line.cancelled) == (line.quantity, line.delivered, line.quantity - delivered)
    for transaction_id, codes in seen.items():
        for _ in range(20):
            with suppress(UnavailableError):
                assert (await harness.codes(transaction_id)).items() >= codes.items()
                break
    places = [(one.purchase_order, one.sequence) for one in harness.transactions.by_id.values()]
    assert len(set(places)) == len(places)
    claims = [one.client_order_number for one in harness.transactions.by_id.values() if one.client_order_number]
    assert len(set(claims)) == len(claims)
    harness.transactions._chance = harness.invoices._chance = harness.purchase_orders._chance = Interference()
    await check_accounts(harness)
    invoiced = {one.draft.purchase_order for one in harness.invoices.issued}
    assert invoiced == {one.purchase_order for one in harness.transactions.by_id.values()}
