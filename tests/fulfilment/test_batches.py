"""What MongoDB's stores do for many callers at once has for each of them the outcome that it would have alone."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from services.fulfilment.domain.purchase_order import PurchaseOrder
from services.fulfilment.domain.slots import UnitStatus, slot_keys
from services.fulfilment.domain.supply import Allocation
from services.fulfilment.domain.transaction import Tally, Transaction, TransactionStatus, apply_tallies
from services.fulfilment.ports import InsertResult
from tests.fulfilment.harness import SITE, Harness, build_mongo_harness

ORDER = PurchaseOrder(site=SITE, business_date="2026-03-04", currency="USD")


def delivered(transaction: Transaction) -> Transaction:
    return apply_tallies(transaction, {0: Tally(delivered=1, cancelled=0)}, business_date="2026-03-04")


async def place_many(harness: Harness, count: int) -> list[Transaction]:
    placed = await asyncio.gather(*(harness.place(("CARD", 1)) for _ in range(count)))
    return [one.transaction for one in placed]


class Commands:
    """Counts the calls of a collection's methods."""

    def __init__(self, collection: Any) -> None:
        self.names: list[str] = []
        self._collection = collection

    def __getattr__(self, name: str) -> Any:
        if name not in ("with_options", "name"):
            self.names.append(name)
        return getattr(self._collection, name)


async def test_a_batch_of_orders_takes_three_commands_and_so_does_their_fulfilment(mongo_harness: Harness) -> None:
    """Fifty orders of one moment: look up products, reserve numbers, insert; then find, find codes, fill, save."""
    harness = mongo_harness
    await harness.load("CARD", *(f"c{number}" for number in range(50)))
    stores = {
        "products": (harness.products, "_products"),
        "purchase orders": (harness.purchase_orders, "_orders"),
        "transactions": (harness.transactions, "_transactions"),
        "codes": (harness.stock, "_codes"),
    }
    counts = {}
    for name, (store, attribute) in stores.items():
        counts[name] = Commands(getattr(store, attribute))
        setattr(store, attribute, counts[name])
    transactions = await place_many(harness, 50)
    await asyncio.gather(*(harness.fulfil(transaction.id) for transaction in transactions))
    found = counts["codes"].names.count("find")
    assert found in (1, 2), "from a random position on, and before it"
    assert {name: [*dict.fromkeys(count.names)] for name, count in counts.items()} == {
        "products": ["find"],
        "purchase orders": ["find_one_and_update"],
        "transactions": ["insert_many", "find", "bulk_write"],
        "codes": ["find", "bulk_write"],
    }
    assert sum(len(count.names) for count in counts.values()) == 6 + found


async def test_numbers_of_one_batch_are_consecutive_and_of_two_purchase_orders_apart(harness: Harness) -> None:
    other = replace(ORDER, currency="EUR")
    reserve = harness.purchase_orders.reserve_sequence
    assert await reserve(ORDER) == 1
    numbers = await asyncio.gather(*(reserve(order) for order in [ORDER, other, ORDER, other, ORDER]))
    assert (sorted(numbers[::2]), sorted(numbers[1::2])) == ([2, 3, 4], [1, 2])


async def test_no_order_of_a_batch_joins_a_closed_purchase_order(harness: Harness) -> None:
    await harness.purchase_orders.reserve_sequence(ORDER)
    await harness.purchase_orders.begin_closing(ORDER.id)
    assert await asyncio.gather(*(harness.purchase_orders.reserve_sequence(ORDER) for _ in range(3))) == [None] * 3


async def test_each_insert_of_a_batch_has_its_own_outcome(harness: Harness) -> None:
    (stored,) = await place_many(harness, 1)
    numbered = (await harness.place(("CARD", 1), clientOrderNumber="n")).transaction

    def new(name: str, sequence: int, **fields: Any) -> Transaction:
        return replace(stored, id=name, sequence=sequence, **fields)

    batch = [
        new("first", 11),
        stored,
        new("same number", 12, client_order_number="n"),
        new("same sequence", numbered.sequence),
        new("last", 13),
    ]
    assert await asyncio.gather(*map(harness.transactions.add, batch)) == [
        InsertResult.INSERTED,
        InsertResult.EXISTS,
        InsertResult.NUMBER_TAKEN,
        InsertResult.SEQUENCE_TAKEN,
        InsertResult.INSERTED,
    ]
    found = await asyncio.gather(*(harness.transactions.find(one.id) for one in batch))
    assert [one is not None for one in found] == [True, True, False, False, True]


async def test_a_save_of_a_batch_that_loses_to_another_writer_is_known(harness: Harness) -> None:
    """Breaks: one of three has been saved by another process, with the same counts. Must hold: it is not ours."""
    transactions = await place_many(harness, 3)
    assert await harness.transactions.save(delivered(transactions[1]))
    saved = await asyncio.gather(*(harness.transactions.save(delivered(one)) for one in transactions))
    assert saved == [True, False, True]
    again = await asyncio.gather(*(harness.transactions.save(delivered(one)) for one in transactions))
    assert again == [False] * 3
    found = [await harness.transactions.find(one.id) for one in transactions]
    assert [(one.status, one.version) for one in found] == [(TransactionStatus.COMPLETED, 1)] * 3


async def test_two_saves_of_one_transaction_in_a_batch_are_one(harness: Harness) -> None:
    (transaction,) = await place_many(harness, 1)
    saved = await asyncio.gather(*(harness.transactions.save(delivered(transaction)) for _ in range(2)))
    assert saved == [True, False]


async def test_too_few_codes_go_to_the_first_slots_of_a_batch(harness: Harness) -> None:
    await harness.load("CARD", "c1", "c2", "c3")
    allocations = await allocate(harness, [("a", 2), ("b", 2), ("c", 1)])
    assert allocations == [Allocation(2, 2), Allocation(1, 1), Allocation(0, 0)]
    assert [await filled(harness, name) for name in "abc"] == [2, 1, 0]


async def test_a_slot_that_another_writer_has_filled_leaves_its_code_to_the_next(mongo_harness: Harness) -> None:
    """Must hold: the request for which no code was left over at first is told to ask again."""
    harness = mongo_harness
    await harness.load("CARD", "c1")
    assert await allocate(harness, [("a", 1)]) == [Allocation(1, 1)]
    await harness.load("CARD", "c2")
    taken, waiting = await allocate(harness, [("a", 1), ("b", 1)])
    assert (taken, waiting) == (Allocation(1, 0), Allocation(1, 0))
    assert await allocate(harness, [("b", 1)]) == [Allocation(1, 1)]
    assert await harness.stock.count_available("CARD") == 0


async def test_two_requests_for_one_slot_get_one_code(mongo_harness: Harness) -> None:
    harness = mongo_harness
    await harness.load("CARD", "c1", "c2")
    await allocate(harness, [("a", 1), ("a", 1)])
    assert await filled(harness, "a") == 1
    assert await harness.stock.count_available("CARD") == 1


@pytest.mark.parametrize("units", [1, 3])
async def test_processes_that_batch_for_the_same_codes_give_each_once(mongo_harness: Harness, units: int) -> None:
    """Four processes and eighty transactions race for codes that suffice for sixty: none is sold twice (I5)."""
    harness = mongo_harness
    assert harness.mongo is not None
    await harness.load("CARD", *(f"c{number}" for number in range(60 * units)))
    processes = [build_mongo_harness(harness.mongo, harness.clock) for _ in range(4)]
    placed = await asyncio.gather(*(processes[number % 4].place(("CARD", units)) for number in range(80)))
    ids = [one.transaction.id for one in placed]
    await asyncio.gather(*(process.fulfil(name) for name in ids for process in processes))
    codes = [code for name in ids for code in (await harness.get_codes(name)).values()]
    assert len(codes) == len(set(codes)) == 60 * units
    stored = [await harness.transactions.find(name) for name in ids]
    assert sum(line.delivered for one in stored for line in one.lines) == 60 * units
    assert sorted(one.sequence for one in stored) == list(range(1, 81))


async def allocate(harness: Harness, wanted: Sequence[tuple[str, int]]) -> list[Allocation]:
    """Ask for units of these transactions at one moment."""
    slots = [list(slot_keys(name, 0, units)) for name, units in wanted]
    allocations: list[Allocation] = await asyncio.gather(
        *(harness.stock.allocate("CARD", each, now_us=0) for each in slots)
    )
    return allocations


async def filled(harness: Harness, name: str) -> int:
    found = await harness.stock.filled_slots(name, 0)
    return sum(slot.status is UnitStatus.COMPLETED for slot in found)
