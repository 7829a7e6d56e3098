"""`python -m bench.codes`: throughput of allocating and fetching codes, on a MongoDB of its own.

Each order is fulfilled completely: read, each code allocated by one conditional update, counted, stored with its event.
"""

import asyncio
import tempfile
import time
from pathlib import Path
from statistics import median

import msgspec
import uvloop

from sandbox.mongo import ReplicaSet
from services.fulfilment.flows import get_codes
from services.fulfilment.http import responses
from tests.fulfilment.harness import SITE, Harness, open_mongo_harness

TASKS = 32


async def measure_allocation(harness: Harness, *, orders: int, units: int) -> None:
    await harness.load("CARD", *(f"{units}-{n}" for n in range(orders * units)))
    ids = [(await harness.place(("CARD", units))).transaction.id for _ in range(orders)]
    queue = iter(ids)

    async def task() -> None:
        for transaction_id in queue:
            await harness.fulfil(transaction_id)

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(task() for _ in range(TASKS)))
    took, busy = time.perf_counter() - began, time.process_time() - cpu
    count = orders * units
    assert await harness.stock.count_available("CARD") == 0
    rate, each_us = count / took, busy / count * 1e6
    print(f"{TASKS} tasks on one SKU, {units} units per order: {rate:,.0f} allocations/s ({each_us:.0f} us CPU)")


async def measure_baseline(harness: Harness, *, codes: int) -> None:
    """Measure the baseline: one find-and-update per code."""
    await harness.load("PENNY", *(f"baseline-{n}" for n in range(codes)))
    collection = harness.stock._codes  # noqa: SLF001 - beside the store's own operation
    numbers = iter(range(codes))

    async def task() -> None:
        for number in numbers:
            change = {"$set": {"slot": f"baseline:{number:06d}"}, "$unset": {"available": ""}}
            await collection.find_one_and_update({"sku": "PENNY", "available": True}, change)

    began = time.perf_counter()
    await asyncio.gather(*(task() for _ in range(TASKS)))
    print(f"baseline: {codes / (time.perf_counter() - began):,.0f} find-and-updates/s")


async def measure_fetch(harness: Harness, *, units: int = 1_000, rounds: int = 60) -> None:
    transaction = (await harness.place(("DEMO-INSTANT", units))).transaction
    await harness.fulfil(transaction.id)
    took, busy = [], []
    for _ in range(rounds):
        began, cpu = time.perf_counter(), time.process_time()
        found = await get_codes.get_codes(SITE, transaction.id, None, harness.get_codes_deps)
        assert found is not None
        assert len(msgspec.json.encode(responses.codes(found, 0))) > units * 100
        took.append(time.perf_counter() - began)
        busy.append(time.process_time() - cpu)
    wall, best, cpu = (value * 1e3 for value in (median(took), min(took), median(busy)))
    print(f"get codes, {units} units: p50 {wall:.1f} ms, best {best:.1f} ms, CPU {cpu:.1f} ms")


async def main(uri: str) -> None:
    for driver in ("motor", "pymongo"):
        print(driver)
        async with open_mongo_harness(uri, driver) as harness:
            await measure_baseline(harness, codes=600)
            await measure_allocation(harness, orders=600, units=1)
            await measure_allocation(harness, orders=200, units=10)
            await measure_fetch(harness)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory, ReplicaSet(Path(directory)) as mongo:
        uvloop.run(main(mongo.uri))
