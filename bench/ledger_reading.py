"""Times of the ledger's pages, reports and exports, over HTTP."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count, repeat
from statistics import median

import aiohttp
import psutil

from bench.environment import REPOSITORY, TESTED_CORE, quantile, wait_until_listening
from bench.ledger_sales import USERS
from bench.query_latency import measure_latency, over_connection
from bench.raw_http import Connection, build_request
from bench.status_replica import API_KEY, TOKEN
from sandbox.ports import free_ports

BASE = f"/ledger/v1/{API_KEY}"
HEADERS = {"Authorization": f"Bearer {TOKEN.token_id}"}
YEAR = "from=2026-01-01&to=2026-12-31"
FORMATS = ("ndjson", "csv", "xlsx")
RECEIVE_BYTES, SAMPLE_S = 2**18, 0.1


@asynccontextmanager
async def replica(uri: str, driver: str, database: str) -> AsyncIterator[tuple[int, psutil.Process]]:
    """Run a replica of the API on the tested core; yield its port and process."""
    (port,) = free_ports(1)
    environment = {"MONGODB_URI": uri, "MONGO_DRIVER": driver, "MONGODB_DATABASE": database, "HTTP_PORT": str(port)}
    running = subprocess.Popen(  # noqa: ASYNC220 - nothing else runs yet
        [sys.executable, "-m", "bench.ledger_replica", str(TESTED_CORE)],
        cwd=REPOSITORY,
        env={**os.environ, **environment, "LOG_LEVEL": "WARNING"},
    )
    try:
        await asyncio.to_thread(wait_until_listening, port)
        yield port, psutil.Process(running.pid)
    finally:
        running.terminate()
        running.wait()


async def measure_queries(port: int, process: psutil.Process, *, repeats: int) -> None:
    """Ask in a row, and print the times of each query."""
    requests: dict[str, Iterator[bytes]] = {
        "page of 50 entries of a user": (_get(f"/users/user-{number * 7 % USERS}/orders") for number in count()),
        "report of a year by day and channel": repeat(_get(f"/reports/sales?{YEAR}&by=day,channel")),
        "report of a year by month": repeat(_get(f"/reports/sales?{YEAR}&by=month")),
        "report of a year by month and channel": repeat(_get(f"/reports/sales?{YEAR}&by=month,channel")),
    }
    async with Connection("127.0.0.1", port) as connection:
        for name, query in over_connection(connection, requests).items():
            await measure_latency({name: query}, repeats=10, pause_s=0)
            began_s = _cpu_s(process)
            times = (await measure_latency({name: query}, repeats=repeats, pause_s=0))[name]
            cpu_ms = (_cpu_s(process) - began_s) / repeats * 1e3
            print(
                f"  {name}: p50 {median(times) * 1e3:.1f} ms, p99 {quantile(times, 0.99) * 1e3:.1f} ms, "
                f"CPU {cpu_ms:.1f} ms",
                flush=True,
            )


async def measure_exports(port: int, process: psutil.Process, *, rows: int) -> None:
    """Export all entries in each format, and print rates and the replica's memory."""
    async with aiohttp.ClientSession() as session:
        for name in FORMATS:
            url = f"http://127.0.0.1:{port}{BASE}/exports/orders?format={name}"
            began, cpu_s, size = time.perf_counter(), _cpu_s(process), 0
            watching = asyncio.create_task(_watch_memory(process))
            async with session.get(url, headers=HEADERS, timeout=None, raise_for_status=True) as response:
                while piece := await response.content.read(RECEIVE_BYTES):
                    size += len(piece)
            took_s = time.perf_counter() - began
            watching.cancel()
            (resident,) = await asyncio.gather(watching)
            early, late = (max(part) / 2**20 for part in (resident[: len(resident) // 4 + 1], resident))
            print(
                f"  export {name}: {rows / took_s:,.0f} rows/s, {(_cpu_s(process) - cpu_s) / rows * 1e6:.0f} us CPU a "
                f"row, {size / 1e6:.0f} MB; resident at most {early:.0f} MiB in the first quarter, {late:.0f} MiB "
                "in all",
                flush=True,
            )


async def _watch_memory(process: psutil.Process) -> list[int]:
    """Return the sizes of the process until this is cancelled."""
    sizes = [process.memory_info().rss]
    try:
        while True:
            await asyncio.sleep(SAMPLE_S)
            sizes.append(process.memory_info().rss)
    except asyncio.CancelledError:
        return sizes


def _cpu_s(process: psutil.Process) -> float:
    return sum(process.cpu_times()[:2])


def _get(path: str) -> bytes:
    return build_request("GET", f"{BASE}{path}", b"", HEADERS)
