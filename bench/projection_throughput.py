"""How fast a worker of status turns job events into jobs, beside the bare insertion of the same documents.

From the bytes that Kafka gave to the acknowledgement of MongoDB: only the fetching is left out.
"""

import asyncio
import io
import itertools
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import uuid4

from aiokafka import ConsumerRecord, TopicPartition
from fastavro import schemaless_writer
from prometheus_client import Gauge

from services import topics
from services.chassis.avro.schemas import Schemas
from services.chassis.kafka.consumer import Poll
from services.chassis.kafka.dead_letter_limit import DeadLetterLimit
from services.chassis.mongodb.client import CONNECTIONS, Mongo
from services.chassis.runtime.settings import REPOSITORY, MongoSettings
from services.status.adapters.job_store import CHUNKS, JOBS, MongoJobStore
from services.status.adapters.notifier import JobNotifier
from services.status.domain.profile import SiteProfile
from services.status.flows.apply_events import Deps
from services.status.wire import EventCodec
from services.status.worker import Worker

SCHEMAS = Schemas.load(REPOSITORY / "schemas")
PARTITION = TopicPartition(topics.JOBS_EVENTS.name, 0)
NOW_US = 1_700_000_000_000_000
POLL = 4_000
# Connections to MongoDB: six portions are written at a time, some of them by two.
WARM_CONNECTIONS = 8

# One record of so many is faulty, and names one of so many missing products.
DEFAULT_FAULT_INTERVAL, MISSING = 50, 3
Values = Sequence[bytes]

_random = random.Random(0)


class FakeSiteProfiles:
    """Shows all jobs in the same way."""

    def of(self, site: int) -> SiteProfile:
        """Of any site."""
        del site
        return SiteProfile(1078, "omnichannel-api/qa", "qa")


@dataclass(frozen=True)
class Workload:
    """Events to read, and of how many records they speak; all of it `repeated` times."""

    records: int
    polls: Sequence[Poll]
    repeated: int = 1


def judged_at_once(records: int, *, every: int = DEFAULT_FAULT_INTERVAL) -> Workload:
    """Jobs of 100: each is judged in the poll in which it opens."""
    return Workload(records, polls(_pairs(*jobs(records // 100, 100, every=every))))


def judged_later(records: int) -> Workload:
    """Jobs of 100: all of them are written before the first is judged."""
    opened, judged = jobs(records // 100, 100, every=DEFAULT_FAULT_INTERVAL)
    return Workload(records, [*polls(opened), {}, *polls(judged)])


def replayed(records: int) -> Workload:
    """Jobs of 100: everything comes twice."""
    events = _pairs(*jobs(records // 100, 100, every=DEFAULT_FAULT_INTERVAL))
    return Workload(2 * records, polls([*events, *events]), repeated=2)


def single_record_jobs(records: int) -> Workload:
    """Jobs of one record, a tenth as many."""
    return Workload(records // 10, polls(_pairs(*jobs(records // 10, 1, every=DEFAULT_FAULT_INTERVAL))))


def large_job(records: int) -> Workload:
    """The largest job there may be, unless fewer records are asked for, with many faults."""
    total = min(records, 100_000)
    (opened,), judged = jobs(1, total, every=5)
    return Workload(total, polls([opened, *judged], size=100))


# One for each target, and one with more faults; 2 % of the records are faulty where nothing is said.
WORKLOADS: Mapping[str, Callable[[int], Workload]] = {
    "jobs of 100, together": judged_at_once,
    "jobs of 100, together, 5 % faults": partial(judged_at_once, every=20),
    "jobs of 100, judged later": judged_later,
    "jobs of 100, replayed": replayed,
    "jobs of one": single_record_jobs,
    "one large job, 20 % faults": large_job,
}


def _pairs(opened: Values, judged: Values) -> Values:
    return [event for pair in zip(opened, judged, strict=True) for event in pair]


def jobs(count: int, total: int, *, every: int) -> tuple[list[bytes], list[bytes]]:
    """So many `opened` events, and what was judged, 100 records an event; one record of `every` is faulty."""
    opened, judged = [], []
    for _ in range(count):
        job = str(uuid4())
        opened.append(event(job, total, "Opened", {"refused": None}))
        for first in range(0, total, 100):
            told = run(first, min(100, total - first), every=every)
            judged.append(event(job, total, "Judged", {"run": told}))
    return opened, judged


def run(first: int, count: int, *, every: int) -> dict[str, Any]:
    """A stretch of records in the words of the schema."""
    indexes = range(first, first + count)
    return {
        "first": first,
        "outcomes": "".join("F" if at % every == every - 1 else "S" for at in indexes),
        "rows": json.dumps([[f"order-{at:07d}", f"user-{at % 997}"] for at in indexes], separators=(",", ":")),
        "failures": [
            {"index": at, "orderId": f"order-{at:07d}", "mode": "offline", "faults": [fault()], "record": '{"id":"o"}'}
            for at in indexes
            if at % every == every - 1
        ],
    }


def fault() -> dict[str, Any]:
    """Why a record was not accepted, in the words of the schema."""
    product = f"product-{_random.randrange(MISSING):06d}"
    return {
        "code": "PRODUCT_NOT_FOUND",
        "field": "/lineItems/0/productId",
        "message": f"No product is found for product ID {product}",
        "level": "WARNING",
        "productId": product,
        "retryable": False,
    }


def event(job: str, total: int, fact: str, told: Mapping[str, Any]) -> bytes:
    """An event as it lies in Kafka."""
    header = {"site": 608, "jobId": job, "total": total, "createdAt": NOW_US, "mode": "offline", "type": "orders"}
    body = io.BytesIO(SCHEMAS["job_event"].prefix)
    body.seek(0, io.SEEK_END)
    schemaless_writer(
        body, SCHEMAS["job_event"].plain, {**header, "at": NOW_US + 1, "fact": (f"tillstream.{fact}", told)}
    )
    return body.getvalue()


def polls(values: Values, *, size: int = POLL) -> list[Poll]:
    """The events as a consumer hands them over."""
    records = [ConsumerRecord(*PARTITION, at, 0, 0, b"", value, None, 0, 0, ()) for at, value in enumerate(values)]
    return [{PARTITION: records[at : at + size]} for at in range(0, len(records), size)]


async def timed(work: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """Seconds by the clock and of this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    await work()
    return time.perf_counter() - wall, time.process_time() - cpu


@dataclass(frozen=True)
class Measurement:
    """What one turn took: the worker's time by the clock and of its process, and the time of bare inserts."""

    records: int
    repeated: int
    wall_s: float
    cpu_s: float
    bare_s: float

    @property
    def rate(self) -> float:
        """Records a second."""
        return self.records / self.wall_s

    @property
    def bare_rate(self) -> float:
        """Records a second of those that are stored in the end."""
        return self.records / self.repeated / self.bare_s

    @property
    def ratio(self) -> float:
        """How near the worker comes to the limit."""
        return self.rate / self.bare_rate

    @property
    def cpu_us(self) -> float:
        """Microseconds of this process for a record."""
        return self.cpu_s / self.records * 1e6


async def run_once(uri: str, driver: str, workload: Workload) -> Measurement:
    """The worker, and then bare inserts of the documents that it wrote."""
    async with temporary_store(uri, driver) as (mongo, store, _), temporary_store(uri, driver) as (other, *_):
        for one in (mongo, other):
            await _connect(one)
        worker = build_worker(store)

        async def work() -> None:
            for poll in workload.polls:
                await worker.handle(poll)
            # Until all of it is written, and not only taken.
            await worker.handle({})

        wall_s, cpu_s = await timed(work)
        bare_s, _ = await _bare_inserts(mongo, other)
    return Measurement(workload.records, workload.repeated, wall_s, cpu_s, bare_s)


@asynccontextmanager
async def temporary_store(uri: str, driver: str) -> AsyncIterator[tuple[Mongo, MongoJobStore, str]]:
    """A database of its own with all indexes, and its name."""
    name = f"bench{uuid4().hex[:10]}"
    settings = MongoSettings(mongodb_uri=uri, mongodb_database=name, mongo_driver=driver)
    mongo = Mongo.connect(settings, retry_writes=False)
    store = MongoJobStore(mongo, now=lambda: datetime.now(UTC))
    await store.create_indexes(retention_days=30)
    yield mongo, store, name
    await mongo.client.drop_database(name)
    await mongo.close()


def build_worker(store: MongoJobStore) -> Worker:
    """Status' own, without Kafka on either side. Its clock jumps: nothing is held back for more than a poll."""
    return Worker(
        Deps(jobs=store, site_profiles=FakeSiteProfiles(), notifier=JobNotifier(max_waiters=1), now_us=lambda: NOW_US),
        codec=EventCodec(SCHEMAS),
        dead_letters=FakeDeadLetters(),
        dead_letter_limit=DeadLetterLimit(max_consecutive=1, window=2, max_ratio=1.0),
        linger_s=0.05,
        clock_s=itertools.count().__next__,
    )


async def _connect(mongo: Mongo) -> None:
    """Open as many connections as one that is at work has by then."""
    pool = CONNECTIONS.labels("open")
    wanted = _value(pool) + WARM_CONNECTIONS
    warm = mongo.collection("warm")
    while _value(pool) < wanted:
        # Each waits for the journal, and so needs a connection to itself.
        await asyncio.gather(*[warm.insert_one({}) for _ in range(2 * WARM_CONNECTIONS)])


def _value(gauge: Gauge) -> float:
    (family,) = gauge.collect()
    return float(family.samples[0].value)


class FakeDeadLetters:
    """Nothing here is malformed."""

    async def send(self, letters: object) -> None:
        """Never."""
        raise AssertionError(letters)


async def _bare_inserts(mongo: Mongo, other: Mongo) -> tuple[float, float]:
    """The limit: the documents that status wrote, inserted by the driver alone, with the same indexes, two writers."""
    lots = []
    for name in (JOBS, CHUNKS):
        found = await mongo.collection(name).find().to_list(None)
        lots += [(other.collection(name), found[at : at + 1_000]) for at in range(0, len(found), 1_000)]

    async def insert(mine: Sequence[tuple[Any, list[Any]]]) -> None:
        for into, documents in mine:
            await into.insert_many(documents, ordered=False)

    return await timed(lambda: asyncio.gather(insert(lots[::2]), insert(lots[1::2])))
