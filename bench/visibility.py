"""`python -m bench.visibility`: the time from a 202 until status shows the job's end, by stage, and its slowest jobs.

An open loop at a rate below capacity, on a whole sandbox. Kafka's timestamps say when the job's last event was sent;
beside the slowest jobs stands how late this process and the machine were at that moment.
"""

import asyncio
import gc
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import Annotated

import aiohttp
import typer
from aiokafka import AIOKafkaConsumer

from bench.environment import BenchSandbox, quantile, running_sandbox
from bench.load import Client, Tally, closed_loop
from bench.tenant import build_bodies
from services import topics
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.settings import MongoSettings

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
BATCH = 100
SLOWEST = 8
BEAT_S = 0.02
CHECKPOINT_POLL_S = 0.25
CONNECTIONS = 16
WARM_UP_S = 2.0


@dataclass(slots=True)
class Job:
    """When what happened to a job, in seconds since 1970."""

    sent_at: float
    accepted_at: float
    visible_at: float = 0.0
    judged_at: float = 0.0

    @property
    def total_s(self) -> float:
        """From the 202 until status shows the end."""
        return self.visible_at - self.accepted_at


@dataclass(slots=True)
class Heartbeat:
    """By time: how late a timer of this process was, what the host took of the machine, when MongoDB had a checkpoint.

    A checkpoint writes everything that has changed since the last one, once a minute.
    """

    lateness: list[tuple[float, float]] = field(default_factory=list)
    steal: list[tuple[float, float]] = field(default_factory=list)
    checkpoints: list[float] = field(default_factory=list)

    async def run(self) -> None:
        """Beat until cancelled."""
        before = _stolen_s()
        while True:
            due = time.time() + BEAT_S
            await asyncio.sleep(BEAT_S)
            now, stolen_s = time.time(), _stolen_s()
            self.lateness.append((now, now - due))
            self.steal.append((now, stolen_s - before))
            before = stolen_s

    async def watch_checkpoints(self, mongo: Mongo) -> None:
        """Watch until cancelled."""
        while True:
            status = await mongo.client.admin.command("serverStatus")
            if status["wiredTiger"]["transaction"]["transaction checkpoint currently running"]:
                self.checkpoints.append(time.time())
            await asyncio.sleep(CHECKPOINT_POLL_S)

    @property
    def p99_ms(self) -> float:
        """The 99th percentile of the timer's lateness."""
        return quantile([value for _, value in self.lateness], 0.99) * 1e3

    def describe(self, job: Job) -> str:
        """Say what happened between a job's request and its end."""
        late = [value for at, value in self.lateness if job.sent_at <= at <= job.visible_at + BEAT_S]
        steal = [value for at, value in self.steal if job.sent_at <= at <= job.visible_at + BEAT_S]
        slack_s = 2 * CHECKPOINT_POLL_S
        has_checkpoint = any(job.sent_at - slack_s <= at <= job.visible_at + slack_s for at in self.checkpoints)
        return f"load generator late by {max(late, default=0.0) * 1e3:.0f} ms, host took {sum(steal) * 1e3:.0f} ms" + (
            ", checkpoint" if has_checkpoint else ""
        )


def main(
    seconds: Annotated[float, typer.Option(help="Length of the measurement.")] = 60,
    rate: Annotated[int, typer.Option(help="Orders per second.")] = 1_000,
    batch: Annotated[int, typer.Option(help="Orders per request.")] = BATCH,
    load: Annotated[float, typer.Option(help="Seconds of full load before.")] = 10,
) -> None:
    """Measure and print."""
    with running_sandbox() as sandbox:
        asyncio.run(measure(sandbox, seconds=seconds, rate=rate, batch=batch, load_s=load))


async def measure(sandbox: BenchSandbox, *, seconds: float, rate: int, batch: int, load_s: float) -> None:
    """Send at the rate, follow each job, and print."""
    bodies = build_bodies(50, size=batch, faulty_share=0.02)
    settings = MongoSettings(mongodb_uri=sandbox.environment("status")["MONGODB_URI"])
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
        Mongo.connect(settings) as mongo,
    ):
        client = Client(sandbox.endpoints["gateway"], session)
        await client.authenticate()
        # This process's own collections would count as the services' time.
        gc.collect()
        gc.freeze()
        gc.disable()
        await closed_loop(client, bodies, seconds=load_s, connections=CONNECTIONS)
        await follow(client, bodies, per_second=rate / batch, seconds=WARM_UP_S)
        heartbeat, events = Heartbeat(), JobEvents()
        background = [asyncio.create_task(heartbeat.run()), asyncio.create_task(heartbeat.watch_checkpoints(mongo))]
        async with events.consumer(sandbox.endpoints["kafka_bootstrap_servers"]) as consumer:
            background.append(asyncio.create_task(events.read(consumer)))
            began = time.time()
            jobs = await follow(client, bodies, per_second=rate / batch, seconds=seconds)
            await until_read(events, jobs)
        for task in background:
            task.cancel()
    print_stages(jobs, events.last_at, heartbeat, began)


class JobEvents:
    """When the last event of each job was sent to Kafka."""

    def __init__(self) -> None:
        self.last_at: dict[str, float] = {}

    @asynccontextmanager
    async def consumer(self, brokers: str) -> AsyncIterator[AIOKafkaConsumer]:
        """A started consumer of what is sent from now on."""
        consumer = AIOKafkaConsumer(topics.JOBS_EVENTS.name, bootstrap_servers=brokers)
        await consumer.start()
        try:
            yield consumer
        finally:
            await consumer.stop()

    async def read(self, consumer: AIOKafkaConsumer) -> None:
        """Read until cancelled."""
        async for record in consumer:
            self.last_at[record.key.decode().rpartition("|")[2]] = record.timestamp / 1_000


async def follow(client: Client, bodies: Sequence[bytes], *, per_second: float, seconds: float) -> dict[str, Job]:
    """Send on schedule, follow each job to its end, and return all jobs by id."""
    tally, jobs, source, began = Tally(), dict[str, Job](), cycle(bodies), time.perf_counter()

    async def send_and_follow(body: bytes) -> None:
        sent_at = time.time()
        job_id = await client.send(body, tally)
        if job_id is not None:
            job = jobs[job_id] = Job(sent_at, time.time())
            await client.wait_for_job(job_id)
            job.visible_at = time.time()

    tasks = []
    for number in range(int(per_second * seconds)):
        await asyncio.sleep(max(began + number / per_second - time.perf_counter(), 0))
        tasks.append(asyncio.create_task(send_and_follow(next(source))))
    await asyncio.gather(*tasks)
    if tally.refused:
        raise SystemExit(f"refused: {tally.refused}")
    return jobs


async def until_read(events: JobEvents, jobs: Mapping[str, Job]) -> None:
    """Return when the events of all jobs are read."""
    async with asyncio.timeout(30):
        while not jobs.keys() <= events.last_at.keys():  # noqa: ASYNC110 - of another task
            await asyncio.sleep(0.05)


def print_stages(jobs: Mapping[str, Job], judged_at: Mapping[str, float], heartbeat: Heartbeat, began: float) -> None:
    """Print the stages' times, and the slowest jobs."""
    stages = {
        "request to 202": [job.accepted_at - job.sent_at for job in jobs.values()],
        "202 to the last verdict in Kafka": [judged_at[name] - job.accepted_at for name, job in jobs.items()],
        "from there to visible in status": [job.visible_at - judged_at[name] for name, job in jobs.items()],
        "202 to visible in status": [job.total_s for job in jobs.values()],
    }
    for name, times in stages.items():
        figures = ", ".join(f"{label} {quantile(times, share) * 1e3:.0f}" for label, share in QUANTILES.items())
        print(f"{name}: {figures} ms")
    print(f"{len(jobs)} jobs; timers of the load generator late: p99 {heartbeat.p99_ms:.0f} ms. The slowest:")
    for name in sorted(jobs, key=lambda name: -jobs[name].total_s)[:SLOWEST]:
        job = jobs[name]
        request, verdict, visible = (
            (job.accepted_at - job.sent_at) * 1e3,
            (judged_at[name] - job.accepted_at) * 1e3,
            (job.visible_at - judged_at[name]) * 1e3,
        )
        print(
            f"  {datetime.fromtimestamp(job.sent_at, UTC):%H:%M:%S.%f}, after {job.sent_at - began:.1f} s: "
            f"request {request:.0f}, verdict {verdict:.0f}, visible {visible:.0f} ms; {heartbeat.describe(job)}"
        )


def _stolen_s() -> float:
    ticks = Path("/proc/stat").read_text(encoding="ascii").split(maxsplit=9)[8]
    return int(ticks) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    typer.run(main)
