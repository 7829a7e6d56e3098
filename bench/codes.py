"""How fast codes are allocated and fetched, on a MongoDB of its own: `python -m bench.codes`.

Every order is fulfilled whole: read, codes taken by one conditional update each, counted, stored with its event.
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


async def allocate(harness: Harness, *, orders: int, units: int) -> None:
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
    print(f"{TASKS} tasks on one SKU, {units} units an order: {rate:,.0f} allocations/s ({each_us:.0f} us CPU)")


async def limit(harness: Harness, *, codes: int) -> None:
    """The least that can be done: one find-and-update for each code."""
    await harness.load("PENNY", *(f"limit-{n}" for n in range(codes)))
    collection = harness.stock._codes  # noqa: SLF001 - beside the store's own operation
    left = iter(range(codes))

    async def task() -> None:
        for number in left:
            change = {"$set": {"slot": f"limit:{number:06d}"}, "$unset": {"available": ""}}
            await collection.find_one_and_update({"sku": "PENNY", "available": True}, change)

    began = time.perf_counter()
    await asyncio.gather(*(task() for _ in range(TASKS)))
    print(f"limit: {codes / (time.perf_counter() - began):,.0f} find-and-updates/s")


async def fetch(harness: Harness, *, units: int = 1_000, rounds: int = 60) -> None:
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
            await limit(harness, codes=600)
            await allocate(harness, orders=600, units=1)
            await allocate(harness, orders=200, units=10)
            await fetch(harness)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory, ReplicaSet(Path(directory)) as mongo:
        uvloop.run(main(mongo.uri))
