"""Latency of status' queries and wake-ups: two replicas over one MongoDB, compared with the bare driver."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import cycle, repeat
from time import perf_counter
from typing import Any
from uuid import uuid4

import aiohttp
import msgspec

from bench.projection_throughput import NOW_US, FakeFinishedPublisher, FakeSiteProfiles, build_worker
from bench.projection_throughput import large_job as large_job_workload
from bench.raw_http import Connection, build_request
from bench.status_replica import API_KEY, TOKEN
from services.chassis.mongodb.client import ChangeStream, Mongo
from services.jobs.events import JobEvent, JobHeader, JobKey, Judged, Opened, OutcomeRun
from services.status.adapters.job_documents import STATE, SUMMARY_FIELDS, chunk_document_id, job_document_id, key_from
from services.status.adapters.job_store import CHUNKS, JOBS, MongoJobStore
from services.status.adapters.notifier import JobNotifier
from services.status.domain.listing import JobListQuery
from services.status.flows.apply_events import Deps, apply_events

BASE = f"/common-status/v1/{API_KEY}"
ROWS, PAGES = 5_000, 4
MAX_LIST_PAGES = 500
WAITERS = 200
INTERVAL_S = 0.01
# Jobs of one record that the background load opens and ends per interval.
LOAD = 20
LISTS = {
    "any": "",
    "by state and type": "?state=completed&type=orders",
    "of a rare kind": "?mode=online",
    "still open": "?state=received",
}
HEADERS = {"Authorization": f"Bearer {TOKEN.token_id}"}

Times = dict[str, list[float]]
Query = Callable[[], Awaitable[Any]]


def build_writer(store: MongoJobStore) -> Deps:
    """Build the dependencies of a worker in another process than the replicas."""
    return Deps(
        jobs=store,
        site_profiles=FakeSiteProfiles(),
        notifier=JobNotifier(max_waiters=0),
        finished=FakeFinishedPublisher(),
        now_us=lambda: NOW_US,
    )


async def fill(store: MongoJobStore, *, large: int, listed: int) -> JobKey:
    """Store one large job, a fifth of it faulty, and many others of all kinds; return the large one's key."""
    worker, writer = build_worker(store), build_writer(store)
    for poll in large_job_workload(large).polls:
        await worker.handle(poll)
    await worker.handle({})
    (job,) = await store.list_jobs(JobListQuery(608))
    for first in range(0, listed, 2_000):
        await apply_events([event for number in range(first, first + 2_000) for event in _listed(number)], writer)
    return job.key


def _listed(number: int) -> Sequence[JobEvent]:
    mode, type_ = "online" if number % 1_000 == 0 else "offline", "returns" if number % 50 == 0 else "orders"
    header = JobHeader(JobKey(608, str(uuid4())), 1, NOW_US - number * 1_000, mode, type_)
    return [_opened(header), _judged(header)] if number % 100 else [_opened(header)]


def _opened(header: JobHeader) -> JobEvent:
    return JobEvent(header, NOW_US, Opened(None))


def _judged(header: JobHeader) -> JobEvent:
    return JobEvent(header, NOW_US, Judged(OutcomeRun(0, "S")))


async def build_queries(connection: Connection, key: JobKey) -> Mapping[str, Iterator[bytes]]:
    """Return the requests of each query: the same one repeated, or successive pages."""
    found = {}
    path = first = f"/job/{key.job_id}/events?rows={ROWS}"
    for number in range(1, PAGES + 1):
        request = _request(path)
        found[f"events, page {number} of {ROWS:,}"] = repeat(request)
        page = msgspec.json.decode(await connection.get(request))["pagination"]
        assert page["count"] == ROWS
        path = f"{first}&page={page['nextPageToken']}"
    found["summary"] = repeat(_request(f"/job/{key.job_id}"))
    found |= {f"list of 50 jobs, {name}": repeat(_request(f"/jobs{query}")) for name, query in LISTS.items()}
    return found | {"list of 50 jobs, page after page": cycle([request async for request in _pages(connection)])}


def bare_reads(mongo: Mongo, key: JobKey) -> Mapping[str, Query]:
    """Return the reads behind the responses, without a service."""
    ids = [chunk_document_id(key, number) for number in range(ROWS // 100 + 2)]
    excluded = {"runs.rows": 0, "runs.details": 0}

    async def page() -> None:
        await mongo.collection(CHUNKS).find({"_id": {"$in": ids}}, excluded).to_list(None)

    async def job() -> None:
        await mongo.collection(JOBS).find_one({"_id": job_document_id(key)})

    async def jobs() -> None:
        cursor = mongo.collection(JOBS).find(
            {"site": 608, f"{STATE}.filter": "COMPLETED/orders/offline"}, SUMMARY_FIELDS
        )
        await cursor.sort("position", -1).hint("filtered").limit(50).to_list(None)

    return {"bare read of a page": page, "bare read of a job": job, "bare read of 50 jobs of a kind": jobs}


def over_connection(connection: Connection, requests: Mapping[str, Iterator[bytes]]) -> Mapping[str, Query]:
    """Return each query as a coroutine function that sends its next request on this connection."""

    def query(source: Iterator[bytes]) -> Query:
        return lambda: connection.get(next(source))

    return {name: query(source) for name, source in requests.items()}


def _request(path: str) -> bytes:
    return build_request("GET", f"{BASE}{path}", b"", HEADERS)


async def _pages(connection: Connection) -> AsyncIterator[bytes]:
    """Yield requests for successive pages of jobs: more jobs than status caches."""
    path = "/jobs"
    for _ in range(MAX_LIST_PAGES):
        request = _request(path)
        yield request
        token = msgspec.json.decode(await connection.get(request))["pagination"]["nextPageToken"]
        if token is None:
            return
        path = f"/jobs?page={token}"


async def measure_latency(queries: Mapping[str, Query], *, repeats: int, pause_s: float) -> Times:
    """Run each query `repeats` times, one after another, each after a pause; return the seconds of each."""
    times: Times = {}
    for name, query in queries.items():
        durations = times[name] = []
        for _ in range(repeats):
            if pause_s:
                await asyncio.sleep(pause_s)
            began = perf_counter()
            await query()
            durations.append(perf_counter() - began)
    return times


async def measure_wake_up(
    session: aiohttp.ClientSession, replicas: Sequence[str], store: MongoJobStore, mongo: Mongo
) -> Times:
    """Measure from the write that ends a job to the waiting client's response, and to a bare change stream's event."""
    times: Times = {}
    async with _change_times(mongo) as changed:
        for name, interval_s, is_loaded in (
            ("one after another", INTERVAL_S, False),
            ("one after another, under load", INTERVAL_S, True),
            ("all at once", 0.0, False),
        ):
            is_over = asyncio.Event()
            load = asyncio.create_task(_load(store, is_over)) if is_loaded else None
            answered, ended = await _wait_and_end(session, replicas, store, interval_s=interval_s)
            is_over.set()
            if load is not None:
                await load
            times[f"waiter woken, {name}"] = [answered[key] - ended[key] for key in ended]
            times[f"bare change stream, {name}"] = [changed[key] - ended[key] for key in ended if key in changed]
    return times


async def _wait_and_end(
    session: aiohttp.ClientSession, replicas: Sequence[str], store: MongoJobStore, *, interval_s: float
) -> tuple[dict[JobKey, float], dict[JobKey, float]]:
    """Let 200 clients wait; return when each had its response, and when the write that ended its job began."""
    writer, answered, ended = build_writer(store), dict[JobKey, float](), dict[JobKey, float]()
    headers = [JobHeader(JobKey(608, str(uuid4())), 1, NOW_US, "offline", "orders") for _ in range(WAITERS)]
    await apply_events(map(_opened, headers), writer)

    async def wait(key: JobKey, replica: str) -> None:
        url = f"{replica}{BASE}/job/{key.job_id}"
        async with session.get(url, headers={**HEADERS, "Prefer": "wait=20"}, raise_for_status=True) as response:
            body = await response.read()
        answered[key] = perf_counter()
        assert b'"terminal":true' in body

    waiting = [
        asyncio.create_task(wait(header.key, replicas[number % len(replicas)])) for number, header in enumerate(headers)
    ]
    await asyncio.sleep(1)  # until all are waiting; one that is not would be answered at once
    assert not answered
    for batch in [headers] if not interval_s else [[header] for header in headers]:
        ended |= dict.fromkeys((header.key for header in batch), perf_counter())
        await apply_events(map(_judged, batch), writer)
        await asyncio.sleep(interval_s)
    await asyncio.gather(*waiting)
    return answered, ended


async def _load(store: MongoJobStore, is_over: asyncio.Event) -> None:
    writer = build_writer(store)
    while not is_over.is_set():
        headers = [JobHeader(JobKey(609, str(uuid4())), 1, NOW_US, "offline", "orders") for _ in range(LOAD)]
        await apply_events([event for header in headers for event in (_opened(header), _judged(header))], writer)
        await asyncio.sleep(INTERVAL_S)


@asynccontextmanager
async def _change_times(mongo: Mongo) -> AsyncIterator[dict[JobKey, float]]:
    """While inside, record when a bare change stream last reported each job."""
    changed: dict[JobKey, float] = {}
    is_over = asyncio.Event()

    async def listen(changes: ChangeStream) -> None:
        while not is_over.is_set():
            keys = [key_from(change["documentKey"]["_id"]) for change in await changes.next()]
            changed.update(dict.fromkeys(keys, perf_counter()))

    async with mongo.watch(mongo.collection(JOBS), [{"$project": {"documentKey": 1}}], max_await_ms=200) as changes:
        listening = asyncio.create_task(listen(changes))
        try:
            yield changed
        finally:
            is_over.set()
            await listening
