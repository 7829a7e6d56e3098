"""`python -m bench.feed`: the time from a job's end to its first request at an endpoint, and the time of a feed's page.

The first part runs a whole sandbox; the second one reads a feed of many events on a MongoDB of its own.
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from random import Random
from statistics import median
from typing import Annotated, Any
from uuid import uuid4

import aiohttp
import typer
from aiohttp import web
from aiohttp.test_utils import TestServer

from bench.environment import BenchSandbox, quantile, running_sandbox
from bench.load import Client, Tally
from bench.tenant import API_KEY, CLIENT, SECRET, build_bodies
from sandbox.mongo import ReplicaSet
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.settings import MongoSettings
from services.webhooks.adapters.feed_store import EVENTS, MongoFeedStore, event_key
from services.webhooks.domain.event import EventType, FeedQuery, NewEvent, derive_id, render_event

BASE = "/events/v1"
SITE = 608
BATCH = 5_000


def main(
    rate: Annotated[int, typer.Option(help="Jobs per second.")] = 100,
    seconds: Annotated[float, typer.Option(help="Length of the measurement.")] = 20,
    events: Annotated[int, typer.Option(help="Events in the feed that is read.")] = 1_000_000,
) -> None:
    """Measure and print."""
    with running_sandbox() as sandbox:
        asyncio.run(measure_first_tries(sandbox, rate=rate, seconds=seconds))
    with tempfile.TemporaryDirectory() as directory, ReplicaSet(Path(directory)) as mongo:
        asyncio.run(measure_pages(mongo.uri, events=events))


async def measure_first_tries(sandbox: BenchSandbox, *, rate: int, seconds: float) -> None:
    """Send jobs of one order at this rate; print the time from each job's end to its request at an endpoint."""
    gateway = sandbox.endpoints["gateway"]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session, receiver() as (url, arrived):
        client = Client(gateway, session)
        await client.authenticate()
        await create_endpoint(gateway, session, url)
        bodies = cycle(build_bodies(50, size=1, faulty_share=0.0))
        for per_second, length_s in ((20, 3.0), (rate, seconds)):
            jobs = await send_at_rate(client, bodies, per_second=per_second, seconds=length_s)
            async with asyncio.timeout(60):
                delays_s = [await arrived.get() for _ in range(jobs)]
    figures = {name: quantile(delays_s, share) * 1_000 for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))}
    text = ", ".join(f"{name} {value:.0f} ms" for name, value in figures.items())
    print(f"end of job to first try at {rate} jobs/s, {len(delays_s)} jobs: {text}")


async def send_at_rate(client: Client, bodies: Iterator[bytes], *, per_second: int, seconds: float) -> int:
    """Send imports on schedule; return how many were accepted."""
    tally, tasks, began = Tally(), [], time.perf_counter()
    for number in range(int(per_second * seconds)):
        await asyncio.sleep(max(began + number / per_second - time.perf_counter(), 0))
        tasks.append(asyncio.create_task(client.send(next(bodies), tally)))
    await asyncio.gather(*tasks)
    return len(tally.jobs)


@asynccontextmanager
async def receiver() -> AsyncIterator[tuple[str, asyncio.Queue[float]]]:
    """A server that notes how long ago each event happened."""
    arrived: asyncio.Queue[float] = asyncio.Queue()

    async def accept(request: web.Request) -> web.Response:
        event: dict[str, Any] = await request.json()
        if event["type"] == "job.finished":
            arrived.put_nowait(time.time() - datetime.fromisoformat(event["time"]).timestamp())
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/hooks", accept)
    async with TestServer(app) as server:
        yield f"http://127.0.0.1:{server.port}/hooks", arrived


async def create_endpoint(gateway: str, session: aiohttp.ClientSession, url: str) -> None:
    """Create an endpoint for finished jobs."""
    form = {"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": SECRET}
    async with session.post(f"{gateway}{BASE}/oauth2/token", data=form) as response:
        response.raise_for_status()
        token = (await response.json())["access_token"]
    body = {"url": url, "types": ["job.finished"]}
    headers = {"Authorization": f"Bearer {token}"}
    async with session.post(f"{gateway}{BASE}/{API_KEY}/endpoints", json=body, headers=headers) as response:
        response.raise_for_status()


async def measure_pages(uri: str, *, events: int, rows: int = 500, rounds: int = 300) -> None:
    """Fill a feed; print the time of a page at random positions, all types and one seldom type."""
    database = f"bench{uuid4().hex[:10]}"
    async with Mongo.connect(MongoSettings(mongodb_uri=uri, mongodb_database=database)) as mongo:
        store = MongoFeedStore(mongo)
        began = time.perf_counter()
        for first in range(1, events + 1, BATCH):
            await mongo.collection(EVENTS).insert_many(
                [build_document(number) for number in range(first, first + BATCH)], ordered=False
            )
        await store.create_indexes(retention_days=30)
        print(f"{events:,} events in {time.perf_counter() - began:.0f} s, indexes included")
        chance = Random(0)
        for name, types in (("all types", ()), ("one of 100 types", ("invoice.issued",))):
            took_s = []
            for _ in range(rounds):
                after = chance.randrange(events - rows * (100 if types else 1))
                started = time.perf_counter()
                page = await store.read(FeedQuery(site=SITE, after=after, rows=rows, types=types))
                took_s.append(time.perf_counter() - started)
                assert len(page) == rows
            print(
                f"page of {rows}, {name}: p50 {median(took_s) * 1e3:.1f} ms, p99 {quantile(took_s, 0.99) * 1e3:.1f} ms"
            )
        await mongo.client.drop_database(database)


def build_document(number: int) -> dict[str, Any]:
    """An event as it is stored; one of 100 is an invoice."""
    kind = EventType.INVOICE_ISSUED if number % 100 == 0 else EventType.JOB_FINISHED
    job = derive_id(number)
    links = {
        "job": f"/common-status/v1/{{apiKey}}/job/{job}",
        "events": f"/common-status/v1/{{apiKey}}/job/{job}/events",
    }
    data = {
        "jobId": job,
        "type": "orders",
        "mode": "offline",
        "state": "COMPLETED",
        "counts": {"total": 1},
        "links": links,
    }
    at_us = 1_767_268_800_000_000 + number
    event = NewEvent(id=job, site=SITE, type=kind.value, time_us=at_us, data=data)
    return {
        "_id": event_key(SITE, number),
        "event": job,
        "site": SITE,
        "type": kind.value,
        "sequence": number,
        "json": render_event(event, number),
        "recorded": datetime.now(UTC),
        "recorded_us": at_us,
    }


if __name__ == "__main__":
    typer.run(main)
