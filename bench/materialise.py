"""How fast status writes jobs and reads pages, beside a bare `insert_many`: `python -m bench.materialise`.

Needs `MONGODB_URI`; uses a database of its own. Ratios count, absolute figures are for orientation.
"""

import asyncio
import json
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from pymongo import AsyncMongoClient

from services.chassis.mongo import DURABLE, Mongo
from services.chassis.settings import MongoSettings
from services.status import reading
from services.status.answers import body_of
from services.status.bell import HandBell
from services.status.domain.cursor import START, Lap
from services.status.domain.facts import Failure, Fault, Header, JobEvent, Judged, Key, Opened, Run
from services.status.domain.page import Wish
from services.status.domain.profile import Origin
from services.status.flow import World, record
from services.status.store import CHUNKS, JOBS, MongoJobs

REPEATS = int(os.environ.get("BENCH_REPEATS", "3"))
RECORDS = int(os.environ.get("BENCH_RECORDS", "50000"))
POLL = 4_000
NOW_US = 1_700_000_000_000_000
FAULT = Fault(
    "PRODUCT_NOT_FOUND",
    "/lineItems/0/productId",
    "No product is found for product ID 9",
    "WARNING",
    "9",
    retryable=False,
)


class Origins:
    def of(self, site: int) -> Origin:
        del site
        return Origin(1078, "omnichannel-api/qa", "qa")


@dataclass(frozen=True)
class Workload:
    name: str
    polls: Sequence[Sequence[JobEvent]]


def run(first: int, count: int, *, every: int) -> Run:
    letters = "".join("F" if every and at % every == every - 1 else "S" for at in range(first, first + count))
    rows = json.dumps([[f"order-{at:07d}", f"user-{at % 997}"] for at in range(first, first + count)])
    failures = [
        Failure(first + at, f"order-{first + at:07d}", None, "offline", [FAULT], '{"id":"o"}')
        for at, letter in enumerate(letters)
        if letter == "F"
    ]
    return Run(first, letters, rows, failures)


def jobs(count: int, total: int, *, every: int) -> tuple[list[JobEvent], list[JobEvent]]:
    opened, judged = [], []
    for _ in range(count):
        header = Header(Key(608, str(uuid4())), total, NOW_US, "offline", "orders")
        opened.append(JobEvent(header, NOW_US + 1, Opened(None)))
        judged += [
            JobEvent(header, NOW_US + 2, Judged(run(first, min(100, total - first), every=every)))
            for first in range(0, total, 100)
        ]
    return opened, judged


def polls(*events: JobEvent, size: int) -> list[Sequence[JobEvent]]:
    return [events[at : at + size] for at in range(0, len(events), size)]


def workloads() -> dict[str, tuple[int, list[Sequence[JobEvent]]]]:
    """Records and polls of each."""
    opened, judged = jobs(RECORDS // 100, 100, every=20)
    together = [event for pair in zip(opened, judged, strict=True) for event in pair]
    one_opened, one_judged = jobs(RECORDS // 10, 1, every=20)
    ones = [event for pair in zip(one_opened, one_judged, strict=True) for event in pair]
    large_opened, large_judged = jobs(1, RECORDS, every=5)
    return {
        "jobs of 100, together": (RECORDS, polls(*together, size=POLL)),
        "jobs of 100, judged later": (RECORDS, [*polls(*opened, size=POLL), *polls(*judged, size=POLL)]),
        "jobs of 100, replayed": (2 * RECORDS, polls(*together, *together, size=POLL)),
        "jobs of one": (RECORDS // 10, polls(*ones, size=POLL)),
        "one large job, 20 % faults": (RECORDS, polls(*large_opened, *large_judged, size=50)),
    }


async def timed(work: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """Seconds by the clock and of this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    await work()
    return time.perf_counter() - wall, time.process_time() - cpu


async def bare(client: AsyncMongoClient[dict[str, object]], database: str) -> tuple[float, float]:
    """The documents that status wrote, inserted by the driver alone."""
    source, target = client[database], client[f"{database}b"]
    lots = [(name, await source[name].find().to_list(None)) for name in (JOBS, CHUNKS)]

    async def insert() -> None:
        for name, documents in lots:
            into = target.get_collection(name, write_concern=DURABLE)
            batches = [documents[at : at + 200] for at in range(0, len(documents), 200)]
            await asyncio.gather(*(into.insert_many(batch, ordered=False) for batch in batches))

    took = await timed(insert)
    await client.drop_database(f"{database}b")
    return took


async def measure(uri: str) -> None:
    made = workloads()
    ratios: dict[str, list[tuple[float, float, float]]] = {name: [] for name in made}
    pages: list[tuple[float, float]] = []
    client: AsyncMongoClient[dict[str, object]] = AsyncMongoClient(uri)
    for _ in range(REPEATS):
        for name, (records, lots) in made.items():
            database = f"bench{uuid4().hex[:10]}"
            mongo = Mongo.connect(MongoSettings(mongodb_uri=uri, mongodb_database=database), retry_writes=False)
            store = MongoJobs(mongo, now=lambda: datetime.now(UTC))
            await store.prepare(retention_days=30)
            world = World(jobs=store, origins=Origins(), bell=HandBell(most=1), now_us=lambda: NOW_US)

            async def write(lots: Sequence[Sequence[JobEvent]] = lots, world: World = world) -> None:
                for lot in lots:
                    await record(lot, world)

            wall, cpu = await timed(write)
            limit, _ = await bare(client, database)
            ratios[name].append((records / wall, limit / wall * (records / _kept(name, records)), cpu / records * 1e6))
            if name.startswith("one large"):
                pages += await _pages(store, lots[0][0].header.key)
            await client.drop_database(database)
            await mongo.close()
    await client.close()
    print(f"{'materialise':28} {'records/s':>10} {'of bare':>8} {'CPU µs/record':>14}")
    for name, taken in ratios.items():
        rate, ratio, cost = (statistics.median(column) for column in zip(*taken, strict=True))
        print(f"{name:28} {rate:10.0f} {ratio:8.2f} {cost:14.2f}")
    walls, cpus = ([page[column] * 1e3 for page in pages] for column in (0, 1))
    print(f"events page of 5,000 rows: p50 {statistics.median(walls):.1f} ms, CPU {statistics.median(cpus):.1f} ms")


def _kept(name: str, records: int) -> int:
    return records // 2 if name.endswith("replayed") else records


async def _pages(store: MongoJobs, key: Key) -> list[tuple[float, float]]:
    world = reading.World(jobs=store, waiting=HandBell(most=1), now_us=lambda: 0, clock_s=time.monotonic)
    wish = Wish(5_000, lap=Lap(START))

    async def page() -> None:
        standing = await reading.known(key, world, texts=reading.texts_for(wish))
        assert standing is not None
        body_of({}, (await reading.events(standing, wish, world)).texts)

    return [await timed(page) for _ in range(15)]


if __name__ == "__main__":
    asyncio.run(measure(os.environ["MONGODB_URI"]))
