"""Delivering codes: now, later, never, and never twice; on every kind of store."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest

from services.chassis.runtime import metrics
from services.chassis.runtime.errors import UnavailableError
from services.fulfilment.domain.slots import UnitStatus, slot_keys, stock_id
from services.fulfilment.domain.supply import Allocation, SupplyRequest, SupplyResult
from services.fulfilment.domain.transaction import Tally, Transaction, TransactionStatus, apply_tallies
from services.fulfilment.flows import fulfil, get_codes
from services.fulfilment.flows.fulfil import DEADLINE_PASSED
from tests.fulfilment.fakes import Interference
from tests.fulfilment.harness import OTHER_SITE, SECOND_US, SITE, Harness, build_memory_harness, local_time_us


async def place_order(harness: Harness, *lines: tuple[str, int]) -> Transaction:
    return (await harness.place(*lines)).transaction


async def get_units(harness: Harness, transaction_id: str) -> list[get_codes.Unit]:
    found = await harness.find_codes(transaction_id)
    assert found is not None
    return [unit for line in found.lines.values() for unit in line]


async def test_all_codes_now(harness: Harness) -> None:
    await harness.load("CARD", *(f"c{n}" for n in range(5)))
    transaction = await place_order(harness, ("CARD", 3), ("DEMO-INSTANT", 2))
    done = await harness.fulfil(transaction.id)
    assert done is not None
    assert (done.status, done.version) == (TransactionStatus.COMPLETED, 1)
    codes = await harness.get_codes(transaction.id)
    assert len(set(codes.values())) == 5
    assert await harness.get_codes(transaction.id) == codes
    assert await harness.stock.count_available("CARD") == 2


async def test_some_now_the_rest_later(harness: Harness) -> None:
    await harness.load("CARD", "c1", "c2")
    transaction = await place_order(harness, ("CARD", 3))
    first = await harness.get_codes(transaction.id)
    assert len(first) == 2
    assert [unit.status for unit in await get_units(harness, transaction.id)].count(UnitStatus.PROCESSING) == 1
    await harness.load("CARD", "c3", "c4")
    await harness.transactions.make_due("CARD")
    (due,) = await harness.transactions.claim_due(limit=10, lease_us=10)
    assert due == transaction.id
    done = await harness.fulfil(transaction.id)
    assert done is not None
    assert done.status is TransactionStatus.COMPLETED
    codes = await harness.get_codes(transaction.id)
    assert codes.items() > first.items()
    assert len(codes) == 3


async def test_every_unit_has_its_stock_id_from_the_beginning(harness: Harness) -> None:
    transaction = await place_order(harness, ("DEMO-NEVER", 3))
    before = [unit.stock_id for unit in await get_units(harness, transaction.id)]
    assert before == [stock_id(slot) for slot in slot_keys(transaction.id, 0, 3)]
    assert len(set(before)) == 3


async def test_a_trickle_is_one_a_second(harness: Harness) -> None:
    transaction = await place_order(harness, ("DEMO-TRICKLE", 4))
    counts = []
    for _ in range(5):
        counts.append(len(await harness.get_codes(transaction.id)))
        harness.clock.advance(seconds=1)
    assert counts == [1, 2, 3, 4, 4]


async def test_what_the_supplier_cancels(harness: Harness) -> None:
    transaction = await place_order(harness, ("DEMO-CANCEL", 2), ("DEMO-INSTANT", 1))
    await harness.fulfil(transaction.id)
    due = await harness.transactions.find(transaction.id)
    assert (due.status, due.due_us - due.created_us) == (TransactionStatus.PROCESSING, 3_000_000)
    harness.clock.advance(seconds=3)
    done = await harness.fulfil(transaction.id)
    assert done is not None
    assert done.status is TransactionStatus.PARTIALLY_COMPLETED
    gone = [unit for unit in await get_units(harness, transaction.id) if unit.status is UnitStatus.CANCELLED]
    assert [unit.reason for unit in gone] == ["the supplier has cancelled it"] * 2


async def test_the_deadline_ends_every_unit(harness: Harness) -> None:
    harness.deadline = timedelta(minutes=10)
    await harness.load("CARD", "c1")
    some = await place_order(harness, ("CARD", 2))
    none = await place_order(harness, ("DEMO-NEVER", 2))
    for _ in range(100):
        for due in await harness.transactions.claim_due(limit=10, lease_us=1):
            await harness.fulfil(due)
        pending = [await harness.transactions.find(transaction.id) for transaction in (some, none)]
        if all(transaction.is_final for transaction in pending):
            break
        harness.clock.now_us = max(
            harness.clock.now_us + 1, min(transaction.due_us for transaction in pending if not transaction.is_final)
        )
    assert [transaction.status for transaction in pending] == [
        TransactionStatus.PARTIALLY_COMPLETED,
        TransactionStatus.CANCELLED,
    ]
    assert harness.clock.now_us <= some.deadline_us + 1_000_000
    late = [unit for unit in await get_units(harness, none.id) if unit.status is UnitStatus.OUT_OF_STOCK]
    assert [unit.reason for unit in late] == [DEADLINE_PASSED] * 2


async def test_a_unit_that_was_given_up_gets_no_code_any_more(harness: Harness) -> None:
    harness.deadline = timedelta(seconds=1)
    transaction = await place_order(harness, ("CARD", 1))
    harness.clock.advance(seconds=1)
    await harness.fulfil(transaction.id)
    await harness.load("CARD", "c1")
    taken = await harness.stock.allocate("CARD", list(slot_keys(transaction.id, 0, 1)), now_us=0)
    assert (taken.found, taken.filled) == (1, 0)
    assert await harness.stock.count_available("CARD") == 1


async def test_another_customer_sees_nothing(harness: Harness) -> None:
    transaction = await place_order(harness, ("DEMO-INSTANT", 1))
    assert await harness.find_codes(transaction.id, OTHER_SITE) is None


@pytest.mark.parametrize(
    "failure", [UnavailableError("MongoDB"), ZeroDivisionError(), None], ids=["unavailable", "defect", "silent"]
)
async def test_codes_that_are_there_are_shown_whatever_becomes_of_the_rest(
    memory_harness: Harness, monkeypatch: pytest.MonkeyPatch, failure: Exception | None
) -> None:
    monkeypatch.setattr(get_codes, "FULFIL_TIMEOUT_S", 0.01)
    await memory_harness.load("CARD", "one")
    transaction = await place_order(memory_harness, ("CARD", 2))
    before = await memory_harness.get_codes(transaction.id)

    async def failing(_: str) -> None:
        if failure is None:
            await asyncio.Event().wait()
        else:
            raise failure

    async with asyncio.timeout(5):
        found = await memory_harness.find_codes(
            transaction.id, deps=replace(memory_harness.get_codes_deps, try_fulfil=failing)
        )
    assert found is not None
    assert [unit.redeem_code for unit in found.lines[0]] == [*before.values(), None]


async def test_one_product_of_a_transaction(harness: Harness) -> None:
    transaction = await place_order(harness, ("DEMO-INSTANT", 1), ("DEMO-NEVER", 2))
    found = await harness.find_codes(transaction.id, sku="DEMO-NEVER")
    assert found is not None
    assert {line: len(items) for line, items in found.lines.items()} == {1: 2}
    none = await harness.find_codes(transaction.id, sku="CARD")
    assert none is not None
    assert none.lines == {}


async def test_the_same_code_is_loaded_once(harness: Harness) -> None:
    assert await harness.load("CARD", "c1", "c2") == 2
    assert await harness.load("CARD", "c2", "c3") == 1
    assert await harness.load("PENNY", "c1") == 0


async def test_two_transactions_and_fifty_readers_race_for_the_last_code(harness: Harness) -> None:
    await harness.load("CARD", "the last")
    first, second = [await place_order(harness, ("CARD", 1)) for _ in range(2)]
    found = await asyncio.gather(
        *(harness.get_codes(transaction.id) for _ in range(25) for transaction in (first, second))
    )
    winners = {code for codes in found for code in codes.values()}
    assert winners <= {"the last"}
    now = [await harness.get_codes(transaction.id) for transaction in (first, second)]
    assert sorted(map(len, now)) == [0, 1]
    # A code that was disclosed once is disclosed again.
    for transaction, codes in zip([first, second] * 25, found, strict=True):
        assert codes.items() <= now[[first, second].index(transaction)].items()


async def test_many_workers_on_one_transaction_fill_each_slot_once(harness: Harness) -> None:
    await harness.load("CARD", *(f"c{n}" for n in range(40)))
    transaction = await place_order(harness, ("CARD", 20), ("DEMO-INSTANT", 5))
    await asyncio.gather(*(harness.fulfil(transaction.id) for _ in range(10)))
    done = await harness.transactions.find(transaction.id)
    assert (done.status, [line.delivered for line in done.lines]) == (TransactionStatus.COMPLETED, [20, 5])
    assert await harness.stock.count_available("CARD") == 20
    assert len(set((await harness.get_codes(transaction.id)).values())) == 25


@pytest.mark.parametrize("bug", ["unique", "guarded"])
async def test_the_suite_would_notice(bug: str) -> None:
    """Planted bugs: without the unique slot, or without the guard on the code, a code is delivered twice."""
    random = Random(1)  # noqa: S311 - repeatable
    harness = build_memory_harness(Interference(yields=lambda: random.randint(0, 5)), **{bug: False})
    await harness.load("CARD", *(f"c{n}" for n in range(40)))
    transactions = [await place_order(harness, ("CARD", 10)) for _ in range(2)]
    await asyncio.gather(*(harness.fulfil(transaction.id) for transaction in transactions for _ in range(5)))
    filled = [slot.slot for slot, _ in harness.stock.filled]
    codes = [sealed.digest for _, sealed in harness.stock.filled if sealed]
    assert len(set(filled)) < len(filled) or len(set(codes)) < len(codes)


async def test_counts_never_shrink(harness: Harness) -> None:
    transaction = await place_order(harness, ("CARD", 5))
    more = apply_tallies(transaction, {0: Tally(3, 1)}, business_date="2026-03-04")
    assert apply_tallies(more, {0: Tally(2, 0)}, business_date="2026-03-05") is more
    assert await harness.transactions.save(more)
    assert not await harness.transactions.save(more)
    later = apply_tallies(more, {0: Tally(3, 2)}, business_date="2026-03-05")
    assert [(cancellation.business_date, cancellation.units) for cancellation in later.cancellations] == [
        ("2026-03-04", 1),
        ("2026-03-05", 1),
    ]


async def test_codes_that_are_not_counted_yet_are_counted_where_they_are_shown(harness: Harness) -> None:
    await harness.load("CARD", "one")
    transaction = await place_order(harness, ("CARD", 1))
    await harness.stock.allocate("CARD", list(slot_keys(transaction.id, 0, 1)), now_us=0)

    async def idle(_: str) -> None:
        return None

    found = await harness.find_codes(transaction.id, deps=replace(harness.get_codes_deps, try_fulfil=idle))
    assert found is not None
    assert (found.transaction.status, found.transaction.lines[0].delivered) == (TransactionStatus.COMPLETED, 1)


async def test_the_longer_nothing_comes_the_longer_are_the_pauses(harness: Harness) -> None:
    transaction = await place_order(harness, ("CARD", 1))

    async def pauses(count: int) -> list[int]:
        found = []
        for _ in range(count):
            await harness.fulfil(transaction.id)
            found.append(((await harness.transactions.find(transaction.id)).due_us - harness.clock()) // SECOND_US)
        return found

    assert await pauses(8) == [1, 2, 4, 8, 16, 32, 60, 60]
    await harness.transactions.make_due("CARD")
    assert await pauses(2) == [1, 2]


async def test_a_unit_is_cancelled_on_the_customers_day(harness: Harness) -> None:
    harness.customers.time_zones[SITE] = ZoneInfo("Asia/Tokyo")
    harness.clock.now_us = local_time_us("2026-03-04T14:59:58")
    transaction = await place_order(harness, ("DEMO-CANCEL", 2))
    harness.clock.advance(seconds=3)
    done = await harness.fulfil(transaction.id)
    assert done is not None
    assert transaction.business_date == "2026-03-04"
    assert [(cancellation.business_date, cancellation.units) for cancellation in done.cancellations] == [
        ("2026-03-05", 2)
    ]


async def test_a_supplier_need_not_say_why_it_cancels(memory_harness: Harness) -> None:
    class Refusing:
        async def supply(self, request: SupplyRequest) -> SupplyResult:
            return SupplyResult(cancelled=request.slots)

    transaction = await place_order(memory_harness, ("CARD", 2))
    await fulfil.fulfil(transaction.id, replace(memory_harness.fulfil_deps, suppliers={"stock": Refusing()}))
    gone = await get_units(memory_harness, transaction.id)
    assert [(unit.status, unit.reason) for unit in gone] == [(UnitStatus.CANCELLED, "cancelled by the supplier")] * 2


async def test_what_came_to_its_end_is_counted_once(memory_harness: Harness) -> None:
    def counts() -> list[float]:
        sample = metrics.REGISTRY.get_sample_value
        return [
            sample("fulfilment_units_total", {"outcome": "delivered"}) or 0,
            sample("fulfilment_units_total", {"outcome": "cancelled"}) or 0,
            sample("fulfilment_transactions_ended_total", {"status": "PARTIALLY_COMPLETED"}) or 0,
            sample("fulfilment_completed_seconds_count") or 0,
            sample("fulfilment_completed_seconds_sum") or 0,
        ]

    before = counts()
    transaction = await place_order(memory_harness, ("DEMO-TRICKLE", 3), ("DEMO-CANCEL", 5))
    for _ in range(2):
        await memory_harness.fulfil(transaction.id)
    memory_harness.clock.advance(seconds=4)
    await asyncio.gather(*(memory_harness.fulfil(transaction.id) for _ in range(3)))
    assert [now - then for now, then in zip(counts(), before, strict=True)] == [3, 5, 1, 1, 4]


async def test_codes_that_others_have_taken_meanwhile_are_not_taken_again(
    mongo_harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both find the same available codes, then one is faster."""
    harness = mongo_harness
    await harness.load("CARD", "c1", "c2")
    on_sale = await harness.stock._available_digests("CARD", 2)

    async def found(*_: object) -> list[str]:
        return list(on_sale)

    monkeypatch.setattr(harness.stock, "_available_digests", found)
    fast, slow = [await place_order(harness, ("CARD", 2)) for _ in range(2)]
    allocations = [
        await harness.stock.allocate("CARD", list(slot_keys(transaction.id, 0, 2)), now_us=0)
        for transaction in (fast, slow)
    ]
    assert allocations == [Allocation(2, 2), Allocation(2, 0)]
    assert [sorted((await harness.get_codes(transaction.id)).values()) for transaction in (fast, slow)] == [
        ["c1", "c2"],
        [],
    ]


async def test_the_code_for_a_slot_that_is_filled_already_stays_available(harness: Harness) -> None:
    await harness.load("CARD", "c1", "c2")
    transaction = await place_order(harness, ("CARD", 2))
    first, second = slot_keys(transaction.id, 0, 2)
    await harness.stock.mark_unfillable([second], UnitStatus.CANCELLED, reason="gone", now_us=0)
    assert await harness.stock.allocate("CARD", [first, second], now_us=0) == Allocation(2, 1)
    assert await harness.stock.count_available("CARD") == 1
