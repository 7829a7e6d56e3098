"""Throughput of status' worker from job events to stored jobs, compared with bare inserts of the same documents.

It covers everything from a polled record's bytes to MongoDB's acknowledgement; only fetching from Kafka is left out.
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
from services.status.domain.job import Job
from services.status.domain.profile import SiteProfile
from services.status.flows.apply_events import Deps
from services.status.wire import EventCodec, FinishedCodec
from services.status.worker import Worker

SCHEMAS = Schemas.load(REPOSITORY / "schemas")
PARTITION = TopicPartition(topics.JOBS_EVENTS.name, 0)
NOW_US = 1_700_000_000_000_000
POLL_RECORDS = 4_000
# Open connections to MongoDB before a run: six writes are in flight at a time, some on two connections.
WARM_CONNECTIONS = 8

# One record in 50 is faulty and names one of 3 missing products.
DEFAULT_FAULT_INTERVAL, MISSING_PRODUCTS = 50, 3
Values = Sequence[bytes]

_random = random.Random(0)


class FakeSiteProfiles:
    """One profile for all sites."""

    def get(self, site: int) -> SiteProfile:
        """Return the profile of any site."""
        del site
        return SiteProfile(1078, "omnichannel-api/qa", "qa")


@dataclass(frozen=True)
class Workload:
    """Polled events about `records` records; each event occurs `repeated` times."""

    records: int
    polls: Sequence[Poll]
    repeated: int = 1


def judged_at_once(records: int, *, fault_interval: int = DEFAULT_FAULT_INTERVAL) -> Workload:
    """Jobs of 100 records, each judged in the poll that opens it."""
    return Workload(records, build_polls(_pairs(*build_jobs(records // 100, 100, fault_interval=fault_interval))))


def judged_later(records: int) -> Workload:
    """Jobs of 100 records, all stored before the first is judged."""
    opened, judged = build_jobs(records // 100, 100, fault_interval=DEFAULT_FAULT_INTERVAL)
    return Workload(records, [*build_polls(opened), {}, *build_polls(judged)])


def replayed(records: int) -> Workload:
    """Jobs of 100 records, each event twice."""
    events = _pairs(*build_jobs(records // 100, 100, fault_interval=DEFAULT_FAULT_INTERVAL))
    return Workload(2 * records, build_polls([*events, *events]), repeated=2)


def single_record_jobs(records: int) -> Workload:
    """Jobs of one record, a tenth of the records."""
    return Workload(
        records // 10, build_polls(_pairs(*build_jobs(records // 10, 1, fault_interval=DEFAULT_FAULT_INTERVAL)))
    )


def large_job(records: int) -> Workload:
    """One job of the maximum size, unless fewer records are given, with many faults."""
    total = min(records, 100_000)
    (opened,), judged = build_jobs(1, total, fault_interval=5)
    return Workload(total, build_polls([opened, *judged], size=100))


# Two percent of the records are faulty unless the name says otherwise.
WORKLOADS: Mapping[str, Callable[[int], Workload]] = {
    "jobs of 100, together": judged_at_once,
    "jobs of 100, together, 5 % faults": partial(judged_at_once, fault_interval=20),
    "jobs of 100, judged later": judged_later,
    "jobs of 100, replayed": replayed,
    "jobs of one": single_record_jobs,
    "one large job, 20 % faults": large_job,
}


def _pairs(opened: Values, judged: Values) -> Values:
    return [event for pair in zip(opened, judged, strict=True) for event in pair]


def build_jobs(count: int, total: int, *, fault_interval: int) -> tuple[list[bytes], list[bytes]]:
    """Return the events of `count` jobs: opened, and judged in runs of up to 100; 1 in `fault_interval` is faulty."""
    opened, judged = [], []
    for _ in range(count):
        job = str(uuid4())
        opened.append(build_event(job, total, "Opened", {"refused": None}))
        for first in range(0, total, 100):
            judged_run = build_run(first, min(100, total - first), fault_interval=fault_interval)
            judged.append(build_event(job, total, "Judged", {"run": judged_run}))
    return opened, judged


def build_run(first: int, count: int, *, fault_interval: int) -> dict[str, Any]:
    """Return a run of outcomes as in the schema."""
    indexes = range(first, first + count)
    return {
        "first": first,
        "outcomes": "".join("F" if at % fault_interval == fault_interval - 1 else "S" for at in indexes),
        "rows": json.dumps([[f"order-{at:07d}", f"user-{at % 997}"] for at in indexes], separators=(",", ":")),
        "failures": [
            {
                "index": at,
                "orderId": f"order-{at:07d}",
                "mode": "offline",
                "faults": [build_fault()],
                "record": '{"id":"o"}',
            }
            for at in indexes
            if at % fault_interval == fault_interval - 1
        ],
    }


def build_fault() -> dict[str, Any]:
    """Return a fault as in the schema."""
    product = f"product-{_random.randrange(MISSING_PRODUCTS):06d}"
    return {
        "code": "PRODUCT_NOT_FOUND",
        "field": "/lineItems/0/productId",
        "message": f"No product is found for product ID {product}",
        "level": "WARNING",
        "productId": product,
        "retryable": False,
    }


def build_event(job: str, total: int, fact: str, values: Mapping[str, Any]) -> bytes:
    """Encode an event as in Kafka."""
    header = {"site": 608, "jobId": job, "total": total, "createdAt": NOW_US, "mode": "offline", "type": "orders"}
    body = io.BytesIO(SCHEMAS["job_event"].prefix)
    body.seek(0, io.SEEK_END)
    schemaless_writer(
        body, SCHEMAS["job_event"].plain, {**header, "at": NOW_US + 1, "fact": (f"tillstream.{fact}", values)}
    )
    return body.getvalue()


def build_polls(values: Values, *, size: int = POLL_RECORDS) -> list[Poll]:
    """Return the events as a consumer's polls."""
    records = [ConsumerRecord(*PARTITION, at, 0, 0, b"", value, None, 0, 0, ()) for at, value in enumerate(values)]
    return [{PARTITION: records[at : at + size]} for at in range(0, len(records), size)]


async def timed(work: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """Return wall-clock and CPU seconds of some work."""
    wall, cpu = time.perf_counter(), time.process_time()
    await work()
    return time.perf_counter() - wall, time.process_time() - cpu


@dataclass(frozen=True)
class Measurement:
    """One run: wall-clock and CPU time of the worker, and wall-clock time of the bare inserts."""

    records: int
    repeated: int
    wall_s: float
    cpu_s: float
    bare_s: float

    @property
    def rate(self) -> float:
        """Records per second."""
        return self.records / self.wall_s

    @property
    def bare_rate(self) -> float:
        """Records per second of the bare inserts."""
        return self.records / self.repeated / self.bare_s

    @property
    def ratio(self) -> float:
        """The worker's rate relative to the bare inserts."""
        return self.rate / self.bare_rate

    @property
    def cpu_us(self) -> float:
        """CPU microseconds per record."""
        return self.cpu_s / self.records * 1e6


async def run_once(uri: str, driver: str, workload: Workload) -> Measurement:
    """Run the worker, then bare inserts of the documents that it wrote."""
    async with temporary_store(uri, driver) as (mongo, store, _), temporary_store(uri, driver) as (other, *_):
        for each in (mongo, other):
            await _connect(each)
        worker = build_worker(store)

        async def work() -> None:
            for poll in workload.polls:
                await worker.handle(poll)
            # An empty poll waits for the pending writes.
            await worker.handle({})

        wall_s, cpu_s = await timed(work)
        bare_s, _ = await _bare_inserts(mongo, other)
    return Measurement(workload.records, workload.repeated, wall_s, cpu_s, bare_s)


@asynccontextmanager
async def temporary_store(uri: str, driver: str) -> AsyncIterator[tuple[Mongo, MongoJobStore, str]]:
    """Provide a store with all indexes in a new database, and the database's name."""
    name = f"bench{uuid4().hex[:10]}"
    settings = MongoSettings(mongodb_uri=uri, mongodb_database=name, mongo_driver=driver)
    mongo = Mongo.connect(settings, retry_writes=False)
    store = MongoJobStore(mongo, now=lambda: datetime.now(UTC))
    await store.create_indexes(retention_days=30)
    yield mongo, store, name
    await mongo.client.drop_database(name)
    await mongo.close()


def build_worker(store: MongoJobStore) -> Worker:
    """Build status' worker without Kafka on either side. Its clock jumps, so that it delays nothing beyond a poll."""
    return Worker(
        Deps(
            jobs=store,
            site_profiles=FakeSiteProfiles(),
            notifier=JobNotifier(max_waiters=1),
            finished=FakeFinishedPublisher(),
            now_us=lambda: NOW_US,
        ),
        codec=EventCodec(SCHEMAS),
        dead_letters=FakeDeadLetters(),
        dead_letter_limit=DeadLetterLimit(max_consecutive=1, window=2, max_ratio=1.0),
        linger_s=0.05,
        clock_s=itertools.count().__next__,
    )


async def _connect(mongo: Mongo) -> None:
    """Open as many connections as a worker uses under load."""
    pool = CONNECTIONS.labels("open")
    target = _value(pool) + WARM_CONNECTIONS
    warm = mongo.collection("warm")
    while _value(pool) < target:
        # Each write waits for the journal and occupies a connection meanwhile.
        await asyncio.gather(*[warm.insert_one({}) for _ in range(2 * WARM_CONNECTIONS)])


def _value(gauge: Gauge) -> float:
    (family,) = gauge.collect()
    return float(family.samples[0].value)


class FakeFinishedPublisher:
    """Encodes the events and sends nothing."""

    def __init__(self) -> None:
        self._codec = FinishedCodec(SCHEMAS)

    async def publish_finished(self, jobs: Sequence[Job]) -> None:
        """Encode the events."""
        for job in jobs:
            self._codec.encode(job)


class FakeDeadLetters:
    """Fails: the workloads contain no undecodable record."""

    async def send(self, letters: object) -> None:
        """Raise."""
        raise AssertionError(letters)


async def _bare_inserts(mongo: Mongo, other: Mongo) -> tuple[float, float]:
    """Insert the documents that status wrote with the bare driver, the same indexes and two concurrent writers."""
    batches = []
    for name in (JOBS, CHUNKS):
        found = await mongo.collection(name).find().to_list(None)
        batches += [(other.collection(name), found[at : at + 1_000]) for at in range(0, len(found), 1_000)]

    async def insert(own: Sequence[tuple[Any, list[Any]]]) -> None:
        for into, documents in own:
            await into.insert_many(documents, ordered=False)

    return await timed(lambda: asyncio.gather(insert(batches[::2]), insert(batches[1::2])))
