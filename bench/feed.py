"""`python -m bench.feed`: the time from a job's end to its first request at an endpoint, on a whole sandbox.

It prints the stages, too: from the job's last verdict until status has published its end, until it is in the feed, and
until it arrives. `bench.feed_pages` measures pages of a feed.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import cycle
from math import inf
from typing import Annotated, Any

import aiohttp
import typer
from aiohttp import web
from aiohttp.test_utils import TestServer
from aiokafka import AIOKafkaConsumer

from bench.environment import BenchSandbox, quantile, running_sandbox
from bench.load import Client, Tally
from bench.tenant import API_KEY, CLIENT, SECRET, build_bodies
from services.chassis.kafka.consumer_client import close_client
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.settings import MongoSettings
from services.webhooks.adapters.feed_store import EVENTS

BASE = "/events/v1"
SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}


def main(
    rate: Annotated[int, typer.Option(help="Jobs per second.")] = 100,
    seconds: Annotated[float, typer.Option(help="Length of the measurement.")] = 20,
) -> None:
    """Measure and print."""
    with running_sandbox() as sandbox:
        asyncio.run(measure_first_tries(sandbox, rate=rate, seconds=seconds))


@dataclass(frozen=True, slots=True)
class Arrival:
    """When a job ended, and when that arrived."""

    job_id: str
    ended_s: float
    arrived_s: float


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
                arrivals = [await arrived.get() for _ in range(jobs)]
    published_s = await read_publish_times(sandbox.endpoints["kafka_bootstrap_servers"])
    recorded_s = await read_record_times(sandbox.endpoints["mongodb_uri"])
    print(f"{len(arrivals)} jobs at {rate} a second")
    stages: dict[str, Callable[[Arrival], float]] = {
        "end of job to first try": lambda one: one.arrived_s - one.ended_s,
        "  last verdict to published": lambda one: published_s[one.job_id] - one.ended_s,
        "  published to recorded": lambda one: recorded_s[one.job_id] - published_s[one.job_id],
        "  recorded to first try": lambda one: one.arrived_s - recorded_s[one.job_id],
    }
    for name, took_s in stages.items():
        delays_s = list(map(took_s, arrivals))
        figures = (f"{label} {quantile(delays_s, share) * 1_000:.0f} ms" for label, share in SHARES.items())
        print(f"{name}: {', '.join(figures)}")


async def read_publish_times(bootstrap_servers: str) -> dict[str, float]:
    """When each job's end was published first."""
    consumer = AIOKafkaConsumer("jobs.finished.v1", bootstrap_servers=bootstrap_servers, auto_offset_reset="earliest")
    await consumer.start()
    times: dict[str, float] = {}
    try:
        partitions = consumer.assignment()
        ends = await consumer.end_offsets(partitions)
        while any([await consumer.position(each) < ends[each] for each in partitions]):
            for records in (await consumer.getmany(timeout_ms=1_000)).values():
                for record in records:
                    job_id = record.key.decode().partition("|")[2]
                    times[job_id] = min(times.get(job_id, inf), record.timestamp / 1_000)
    finally:
        await close_client(consumer)
    return times


async def read_record_times(uri: str) -> dict[str, float]:
    """When each job's end was recorded in the feed."""
    async with Mongo.connect(MongoSettings(mongodb_uri=uri, mongodb_database="tillstream")) as mongo:
        found = (
            await mongo.collection(EVENTS).find({"type": "job.finished"}, {"json": 1, "recorded_us": 1}).to_list(None)
        )
    return {json.loads(each["json"])["data"]["jobId"]: each["recorded_us"] / 1e6 for each in found}


async def send_at_rate(client: Client, bodies: Iterator[bytes], *, per_second: int, seconds: float) -> int:
    """Send imports on schedule; return how many were accepted."""
    tally, tasks, began = Tally(), [], time.perf_counter()
    for number in range(int(per_second * seconds)):
        await asyncio.sleep(max(began + number / per_second - time.perf_counter(), 0))
        tasks.append(asyncio.create_task(client.send(next(bodies), tally)))
    await asyncio.gather(*tasks)
    return len(tally.jobs)


@asynccontextmanager
async def receiver() -> AsyncIterator[tuple[str, asyncio.Queue[Arrival]]]:
    """A server that notes when each event arrives."""
    arrived: asyncio.Queue[Arrival] = asyncio.Queue()

    async def accept(request: web.Request) -> web.Response:
        event: dict[str, Any] = await request.json()
        if event["type"] == "job.finished":
            ended_s = datetime.fromisoformat(event["time"]).timestamp()
            arrived.put_nowait(Arrival(event["data"]["jobId"], ended_s, time.time()))
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


if __name__ == "__main__":
    typer.run(main)
