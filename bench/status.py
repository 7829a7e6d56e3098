"""Status beside the bare driver, in one run, with both drivers: `python -m bench.status`.

The program under test has one core, MongoDB and the load the other. Ratios count, absolute figures are for orientation.
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

from bench.open_loop import Pace, answered
from bench.projection_throughput import WORKLOADS, Measurement, run_once, temporary_store
from bench.query_latency import bare_reads, build_queries, fill, measure_latency, measure_wake_up, on_a_line
from bench.raw_http import Line
from sandbox.mongo import ReplicaSet
from sandbox.ports import free_ports
from services.chassis.runtime.lifecycle import tune_gc, tune_malloc

REPOSITORY = Path(__file__).resolve().parents[1]
REPLICAS = 2
PAUSE_S = 0.01
DRIVERS = ("motor", "pymongo")


def main(
    rounds: Annotated[int, typer.Option(help="How often each program has its turn.")] = 7,
    records: Annotated[int, typer.Option(help="Records to materialise in a turn.")] = 400_000,
    asked: Annotated[int, typer.Option(help="How often each question is asked.")] = 200,
    listed: Annotated[int, typer.Option(help="Jobs among which some are listed.")] = 200_000,
) -> None:
    """Measure and print."""
    console = Console(width=120)
    tune_malloc()
    tested, other = cores()
    os.sched_setaffinity(0, {other})
    with tempfile.TemporaryDirectory() as directory, ReplicaSet(Path(directory)) as mongo:
        os.sched_setaffinity(0, {tested})
        console.print(uvloop.run(materialise(mongo.uri, rounds=rounds, records=records)))
        os.sched_setaffinity(0, {other})
        for driver in DRIVERS:
            console.print(uvloop.run(answer(mongo.uri, driver, core=tested, asked=asked, listed=listed)))


def cores() -> tuple[int, int]:
    """The core of the program under test, and that of everything else."""
    first, *_, last = sorted(os.sched_getaffinity(0)) * 2
    return first, last


async def materialise(uri: str, *, rounds: int, records: int) -> Table:
    """Worker and bare inserts in turn; the first round warms up."""
    # As every service does once it is composed.
    tune_gc()
    taken: dict[tuple[str, str], list[Measurement]] = {}
    for name, made in WORKLOADS.items():
        # One after the other: a heap full of other events is slower than that of a service.
        workload = made(records)
        for number in range(rounds + 1):
            for driver in DRIVERS:
                took = await run_once(uri, driver, workload)
                if number:
                    taken.setdefault((name, driver), []).append(took)
        del workload
    table = Table("materialise", "driver", "records/s", "bare records/s", "of bare", "spread", "CPU µs/record")
    for (name, driver), turns in taken.items():
        ratios = [one.ratio for one in turns]
        table.add_row(
            name,
            driver,
            f"{statistics.median(one.rate for one in turns):,.0f}",
            f"{statistics.median(one.bare_rate for one in turns):,.0f}",
            f"{statistics.median(ratios):.2f}",
            f"{min(ratios):.2f}–{max(ratios):.2f}",
            f"{statistics.median(one.cpu_us for one in turns):.2f}",
        )
    return table


async def answer(uri: str, driver: str, *, core: int, asked: int, listed: int) -> Table:
    """Two replicas answer, and wake who waits."""
    async with (
        temporary_store(uri, driver) as (mongo, store, database),
        replicas(uri, driver, database, core=core) as (ports, processes),
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        key = await fill(store, large=100_000, listed=listed)
        line = await Line.to("127.0.0.1", ports[0])
        asked_for = await build_queries(line, key)
        wanted = {**bare_reads(mongo, key), **on_a_line(line, asked_for)}
        await measure_latency(wanted, repeats=20, pause_s=0)
        # After a pause the caches are cold and the cores asleep, which the bare reads show, too.
        paused = await measure_latency(wanted, repeats=asked, pause_s=PAUSE_S)
        in_a_row = await measure_latency(wanted, repeats=asked, pause_s=0)
        halves = {name: Pace(one, 0.5 / statistics.median(in_a_row[name])) for name, one in asked_for.items()}
        at_half_load = await asyncio.to_thread(answered, ports[0], halves, repeats=5 * asked)
        # The other one has been silent for longer than the service has patience.
        line.close()
        line = await Line.to("127.0.0.1", ports[0])
        first = {name: one for name, one in asked_for.items() if name.startswith("events, page 1")}
        before = sum(processes[0].cpu_times()[:2])
        await measure_latency(on_a_line(line, first), repeats=asked, pause_s=PAUSE_S)
        cpu_ms = (sum(processes[0].cpu_times()[:2]) - before) / asked * 1000
        line.close()
        woken = await measure_wake_up(session, [f"http://127.0.0.1:{port}" for port in ports], store, mongo)
        memory = max(process.memory_info().rss for process in processes) / 2**20
    table = Table(
        f"answers, {driver}, {listed:,} jobs; p50, p99 in ms",
        "in a row",
        f"each after {PAUSE_S * 1000:.0f} ms",
        "at half load",
        "a second",
    )
    for name in wanted:
        shown = map(milliseconds, (in_a_row[name], paused[name], at_half_load.get(name, ())))
        table.add_row(name, *shown, f"{halves[name].per_second:,.0f}" if name in halves else "")
    table.add_section()
    for name, took in woken.items():
        table.add_row(name, milliseconds(took))
    table.caption = f"a page of events takes {cpu_ms:.1f} ms of the service's CPU; resident {memory:.0f} MiB"
    return table


@asynccontextmanager
async def replicas(
    uri: str, driver: str, database: str, *, core: int
) -> AsyncIterator[tuple[Sequence[int], Sequence[psutil.Process]]]:
    """Their ports and processes."""
    environment = {**os.environ, "MONGODB_URI": uri, "MONGO_DRIVER": driver, "MONGODB_DATABASE": database}
    ports = free_ports(REPLICAS)
    running = [
        subprocess.Popen(  # noqa: ASYNC220 - nothing else runs yet
            [sys.executable, "-m", "bench.status_replica", str(core)],
            cwd=REPOSITORY,
            env={**environment, "HTTP_PORT": str(port), "LOG_LEVEL": "WARNING"},
        )
        for port in ports
    ]
    try:
        for port in ports:
            await _listening(port)
        yield ports, [psutil.Process(one.pid) for one in running]
    finally:
        for one in running:
            one.terminate()
        for one in running:
            one.wait()


async def _listening(port: int) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


def milliseconds(times: Sequence[float]) -> str:
    """The median of these, in seconds, and what 99 of 100 are below: in milliseconds, as text; nothing of none."""
    ordered = sorted(times)
    return ", ".join(f"{ordered[int(len(ordered) * share)] * 1000:.2f}" for share in (0.5, 0.99) if ordered)


if __name__ == "__main__":
    typer.run(main)
