"""`python -m bench.codes`: throughput of allocating and fetching codes, on a MongoDB of its own.

Each order is fulfilled completely: read, each code allocated by one conditional update, counted, stored with its event.
The limit program is one find-and-update per code, with as many tasks.
"""

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import TypeVar

import msgspec
import uvloop

from sandbox.mongo import ReplicaSet
from services.fulfilment.http import responses
from tests.fulfilment.harness import Harness, open_mongo_harness

TASKS = 32
ROUNDS = 7
COMMANDS = ("find", "insert", "update", "findAndModify", "aggregate")

T = TypeVar("T")


async def measure_allocation(harness: Harness, name: str, *, orders: int, units: int) -> None:
    """Compare whole orders with bare find-and-updates, in interleaved rounds; then print MongoDB's commands."""
    served, bare, cpu_us = [], [], []
    for number in range(ROUNDS):
        bare.append(await measure_bare(harness, f"{name}-{number}", codes=orders))
        rate, each_us = await measure_orders(harness, f"{name}-{number}", orders=orders, units=units)
        served.append(rate)
        cpu_us.append(each_us)
    ratios = sorted(ours / theirs for ours, theirs in zip(served, bare, strict=True))
    print(
        f"{TASKS} tasks on one SKU, {units} units per order: {median(served):,.0f} codes/s, "
        f"{median(cpu_us):.0f} us CPU a code; {median(bare):,.0f} bare find-and-updates/s; "
        f"ratio {median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    )


async def measure_orders(harness: Harness, name: str, *, orders: int, units: int) -> tuple[float, float]:
    """Place and fulfil orders; return the codes allocated per second of fulfilling, and the CPU time of each."""
    await harness.load("CARD", *(f"{name}-{units}-{n}" for n in range(orders * units)))
    placed = await run_tasks([partial(harness.place, ("CARD", units)) for _ in range(orders)])
    began, cpu = time.perf_counter(), time.process_time()
    await run_tasks([partial(harness.fulfil, one.transaction.id) for one in placed])
    took, busy = time.perf_counter() - began, time.process_time() - cpu
    assert await harness.stock.count_available("CARD") == 0
    return orders * units / took, busy / (orders * units) * 1e6


async def measure_bare(harness: Harness, name: str, *, codes: int) -> float:
    """Return how many codes the limit program allocates per second, by one find-and-update each."""
    await harness.load("PENNY", *(f"{name}-{n}" for n in range(codes)))
    collection = harness.stock._codes  # noqa: SLF001 - beside the store's own operation

    async def allocate(number: int) -> None:
        change = {"$set": {"slot": f"{name}:{number:06d}"}, "$unset": {"available": ""}}
        assert await collection.find_one_and_update({"sku": "PENNY", "available": True}, change)

    began = time.perf_counter()
    await run_tasks([partial(allocate, number) for number in range(codes)])
    return codes / (time.perf_counter() - began)


async def measure_commands(harness: Harness, *, orders: int) -> None:
    """Print how many commands MongoDB gets per order of one unit, from concurrent and from single orders."""
    for name, tasks in ((f"{TASKS} tasks", TASKS), ("one task", 1)):
        await harness.load("CARD", *(f"commands-{tasks}-{n}" for n in range(orders)))
        before = await count_commands(harness)
        placed = await run_tasks([partial(harness.place, ("CARD", 1)) for _ in range(orders)], tasks=tasks)
        between = await count_commands(harness)
        await run_tasks([partial(harness.fulfil, one.transaction.id) for one in placed], tasks=tasks)
        placing, fulfilling = between - before, await count_commands(harness) - between
        text = ", ".join(
            f"{phase} {sum(counts.values()) / orders:.2f} ("
            + ", ".join(f"{command} {count / orders:.2f}" for command, count in sorted(counts.items()))
            + ")"
            for phase, counts in (("placing", placing), ("fulfilling", fulfilling))
        )
        print(f"commands per order, {name}: {text}")


async def count_commands(harness: Harness) -> Counter[str]:
    """Return how many data commands the server has executed by name."""
    assert harness.mongo is not None
    status = await harness.mongo.client.admin.command("serverStatus")
    return Counter({name: status["metrics"]["commands"][name]["total"] for name in COMMANDS})


async def run_tasks(work: Sequence[Callable[[], Awaitable[T]]], *, tasks: int = TASKS) -> list[T]:
    """Run all work in that many tasks."""
    queue, results = iter(work), []

    async def task() -> None:
        results.extend([await one() for one in queue])

    await asyncio.gather(*(task() for _ in range(tasks)))
    return results


async def measure_fetch(harness: Harness, *, units: int = 1_000, rounds: int = 60) -> None:
    transaction = (await harness.place(("DEMO-INSTANT", units))).transaction
    await harness.fulfil(transaction.id)
    took, busy = [], []
    for _ in range(rounds):
        began, cpu = time.perf_counter(), time.process_time()
        found = await harness.find_codes(transaction.id)
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
            await measure_orders(harness, "warm-up", orders=300, units=1)
            await measure_commands(harness, orders=320)
            await measure_allocation(harness, "single", orders=600, units=1)
            await measure_allocation(harness, "tens", orders=100, units=10)
            await measure_fetch(harness)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory, ReplicaSet(Path(directory)) as mongo:
        uvloop.run(main(mongo.uri))
