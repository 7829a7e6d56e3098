"""Closing a day needs no more memory for more transactions."""

import gc
import tracemalloc
from typing import Any

from msgspec.structs import replace

from services.fulfilment.flows import close_day
from services.fulfilment.wire.documents import transaction_document
from tests.fulfilment.harness import Harness

FEW, MANY = 500, 8_000
# A day may have 864,000: at this rate it needs 40 MB.
MAX_BYTES_EACH = 50


async def fill_day(harness: Harness, count: int) -> Any:
    """Store `count` transactions on a new day's purchase order, one unit each; one sequence number stays unused."""
    harness.clock.advance(days=1)
    first = (await harness.place(("CARD", 1))).transaction
    collection: Any = harness.transactions._transactions
    for start in range(2, count + 1, 1_000):
        numbers = range(start, min(start + 1_000, count + 1))
        await collection.insert_many(
            [transaction_document(replace(first, id=f"{first.id}{number}", sequence=number)) for number in numbers]
        )
    await harness.purchase_orders._orders.update_one(
        {"_id": first.purchase_order}, {"$set": {"last_sequence": count + 1}}
    )
    return await harness.purchase_orders.find(first.purchase_order)


async def peak_of_closing(harness: Harness, count: int) -> int:
    """Return the peak of allocated bytes while such a day is closed."""
    order = await fill_day(harness, count)
    gc.collect()
    tracemalloc.start()
    try:
        await close_day.close_purchase_order(order, harness.close_day_deps)
        (invoice,) = await harness.invoices.list_by_purchase_order(order.id)
        assert (invoice.draft.transactions, invoice.draft.lines[0].charged) == (count, count)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


async def test_closing_needs_no_more_memory_for_more_transactions(mongo_harness: Harness) -> None:
    few, many = [await peak_of_closing(mongo_harness, count) for count in (FEW, MANY)]
    assert many - few < MAX_BYTES_EACH * (MANY - FEW), (few, many)
