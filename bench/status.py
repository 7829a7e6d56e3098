"""`python -m bench.status`: status compared with the bare MongoDB driver, with both drivers.

The program under test has one core, MongoDB and the load the other. Compare the ratios; absolute figures are for
orientation.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import aiohttp
import psutil
import typer
import uvloop
from rich.console import Console
from rich.table import Table

from bench.environment import OTHER_CORE, REPOSITORY, TESTED_CORE, quantile, wait_until_listening
from bench.open_loop import Rate, open_loop
from bench.projection_throughput import WORKLOADS, Measurement, run_once, temporary_store
from bench.query_latency import bare_reads, build_queries, fill, measure_latency, measure_wake_up, over_connection
from bench.raw_http import Connection
from sandbox.mongo import ReplicaSet
from sandbox.ports import free_ports
from services.chassis.runtime.lifecycle import tune_gc
from services.chassis.runtime.malloc import tune_malloc

REPLICAS = 2
PAUSE_S = 0.01
DRIVERS = ("motor", "pymongo")


def main(
    rounds: Annotated[int, typer.Option(help="Measured runs of each program.")] = 7,
    records: Annotated[int, typer.Option(help="Records to project in a run.")] = 400_000,
    repeats: Annotated[int, typer.Option(help="Repetitions of each query.")] = 200,
    jobs: Annotated[int, typer.Option(help="Stored jobs while lists are queried.")] = 200_000,
) -> None:
    """Measure and print."""
    console = Console(width=120)
    tune_malloc()
    os.sched_setaffinity(0, {OTHER_CORE})
    with tempfile.TemporaryDirectory() as directory, ReplicaSet(Path(directory)) as mongo:
        os.sched_setaffinity(0, {TESTED_CORE})
        console.print(uvloop.run(measure_projection(mongo.uri, rounds=rounds, records=records)))
        os.sched_setaffinity(0, {OTHER_CORE})
        for driver in DRIVERS:
            console.print(uvloop.run(measure_queries(mongo.uri, driver, repeats=repeats, jobs=jobs)))


async def measure_projection(uri: str, *, rounds: int, records: int) -> Table:
    """Run worker and bare inserts alternately; the first round warms up."""
    tune_gc()  # as every service does when it has started
    measurements: dict[tuple[str, str], list[Measurement]] = {}
    for name, build_workload in WORKLOADS.items():
        # One workload in memory at a time: a heap full of other events is slower than that of a service.
        workload = build_workload(records)
        for number in range(rounds + 1):
            for driver in DRIVERS:
                measurement = await run_once(uri, driver, workload)
                if number:
                    measurements.setdefault((name, driver), []).append(measurement)
        del workload
    table = Table("projection", "driver", "records/s", "bare records/s", "of bare", "spread", "CPU µs/record")
    for (name, driver), runs in measurements.items():
        ratios = [run.ratio for run in runs]
        table.add_row(
            name,
            driver,
            f"{statistics.median(run.rate for run in runs):,.0f}",
            f"{statistics.median(run.bare_rate for run in runs):,.0f}",
            f"{statistics.median(ratios):.2f}",
            f"{min(ratios):.2f}–{max(ratios):.2f}",
            f"{statistics.median(run.cpu_us for run in runs):.2f}",
        )
    return table


async def measure_queries(uri: str, driver: str, *, repeats: int, jobs: int) -> Table:
    """Measure queries of one replica, and wake-ups of clients that wait at two."""
    async with (
        temporary_store(uri, driver) as (mongo, store, database),
        replicas(uri, driver, database) as (ports, processes),
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
        Connection("127.0.0.1", ports[0]) as connection,
    ):
        key = await fill(store, large=100_000, listed=jobs)
        requests = await build_queries(connection, key)
        queries = {**bare_reads(mongo, key), **over_connection(connection, requests)}
        await measure_latency(queries, repeats=20, pause_s=0)
        # After a pause caches are cold and cores idle, which the bare reads show, too.
        paused = await measure_latency(queries, repeats=repeats, pause_s=PAUSE_S)
        in_a_row = await measure_latency(queries, repeats=repeats, pause_s=0)
        half = {name: Rate(source, 0.5 / statistics.median(in_a_row[name])) for name, source in requests.items()}
        at_half_load = await asyncio.to_thread(open_loop, ports[0], half, repeats=5 * repeats)
        first_page = {name: source for name, source in requests.items() if name.startswith("events, page 1")}
        before_s = sum(processes[0].cpu_times()[:2])
        await measure_latency(over_connection(connection, first_page), repeats=repeats, pause_s=PAUSE_S)
        cpu_ms = (sum(processes[0].cpu_times()[:2]) - before_s) / repeats * 1000
        wake_ups = await measure_wake_up(session, [f"http://127.0.0.1:{port}" for port in ports], store, mongo)
        memory = max(process.memory_info().rss for process in processes) / 2**20
    table = Table(
        f"queries, {driver}, {jobs:,} jobs; p50, p99 in ms",
        "in a row",
        f"each after {PAUSE_S * 1000:.0f} ms",
        "at half load",
        "per second",
    )
    for name in queries:
        figures = map(format_ms, (in_a_row[name], paused[name], at_half_load.get(name, ())))
        table.add_row(name, *figures, f"{half[name].per_second:,.0f}" if name in half else "")
    table.add_section()
    for name, times in wake_ups.items():
        table.add_row(name, format_ms(times))
    table.caption = f"a page of events takes {cpu_ms:.1f} ms of the service's CPU; resident {memory:.0f} MiB"
    return table


@asynccontextmanager
async def replicas(
    uri: str, driver: str, database: str
) -> AsyncIterator[tuple[Sequence[int], Sequence[psutil.Process]]]:
    """Run replicas of status' API; yield their ports and processes."""
    environment = {**os.environ, "MONGODB_URI": uri, "MONGO_DRIVER": driver, "MONGODB_DATABASE": database}
    ports = free_ports(REPLICAS)
    running = [
        subprocess.Popen(  # noqa: ASYNC220 - nothing else runs yet
            [sys.executable, "-m", "bench.status_replica", str(TESTED_CORE)],
            cwd=REPOSITORY,
            env={**environment, "HTTP_PORT": str(port), "LOG_LEVEL": "WARNING"},
        )
        for port in ports
    ]
    try:
        for port in ports:
            await asyncio.to_thread(wait_until_listening, port)
        yield ports, [psutil.Process(process.pid) for process in running]
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


def format_ms(times: Sequence[float]) -> str:
    """Format median and 99th percentile in milliseconds; empty without values."""
    return ", ".join(f"{quantile(times, share) * 1000:.2f}" for share in (0.5, 0.99) if times)


if __name__ == "__main__":
    typer.run(main)
