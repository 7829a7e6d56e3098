"""`python -m bench`: throughput and latency of a whole sandbox."""

import asyncio
from typing import Annotated

import aiohttp
import psutil
import typer
from rich.console import Console
from rich.table import Table

from bench.environment import BenchSandbox, quantile, running_sandbox
from bench.load import Client, Tally, closed_loop, open_loop
from bench.tenant import build_bodies

CONNECTIONS = 16


def main(
    seconds: Annotated[float, typer.Option(help="Length of each measurement.")] = 20,
    rate: Annotated[int, typer.Option(help="Orders per second when latency is measured.")] = 1_000,
    without: Annotated[list[str] | None, typer.Option(help="A service that is stopped before; repeatable.")] = None,
) -> None:
    """Measure a whole sandbox on this machine: load, broker, database and all services share its cores."""
    with running_sandbox() as sandbox:
        for name in without or []:
            sandbox.run("stop", name)
        asyncio.run(measure(sandbox, seconds, rate))


async def measure(sandbox: BenchSandbox, seconds: float, rate: int) -> None:
    """Warm up, then measure throughput, then latency."""
    hundreds = build_bodies(50, size=100, faulty_share=0.02)
    console = Console()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        client = Client(sandbox.endpoints["gateway"], session)
        await client.authenticate()
        await closed_loop(client, hundreds, seconds=min(seconds / 2, 10), connections=CONNECTIONS)
        before = cpu_seconds(sandbox)
        tally, took_s = await closed_loop(client, hundreds, seconds=seconds, connections=CONNECTIONS)
        spent_s = {name: after - before[name] for name, after in cpu_seconds(sandbox).items()}
        print_throughput(console, tally, took_s, spent_s, resident_mib(sandbox))
        tally = await open_loop(client, hundreds, per_second=rate / 100, seconds=seconds)
        print_latency(console, tally, rate)


def cpu_seconds(sandbox: BenchSandbox) -> dict[str, float]:
    """Return the CPU time so far of each component and of the load generator."""
    spent_s = {name: sum(psutil.Process(pid).cpu_times()[:2]) for name, pid in sandbox.processes().items()}
    return {**spent_s, "load": sum(psutil.Process().cpu_times()[:2])}


def resident_mib(sandbox: BenchSandbox) -> dict[str, float]:
    """Return the resident memory of each component."""
    return {name: psutil.Process(pid).memory_info().rss / 2**20 for name, pid in sandbox.processes().items()}


def print_throughput(
    console: Console, tally: Tally, took_s: float, spent_s: dict[str, float], resident: dict[str, float]
) -> None:
    """Print orders per second until the last job's end, and the CPU time per order of each component."""
    orders = len(tally.jobs) * 100
    p50, p99 = (1000 * quantile(tally.accepted_s, share) for share in (0.5, 0.99))
    console.print(
        f"\nPOST of 100 gzipped orders, {CONNECTIONS} connections: {orders} orders in {took_s:.1f} s, "
        f"{orders / took_s:,.0f} orders/s until the last job's end; response p50 {p50:.0f} ms, p99 {p99:.0f} ms; "
        f"refused: {tally.refused or 'none'}"
    )
    table = Table("component", "CPU µs per order", "resident MiB")
    for name, seconds in sorted(spent_s.items(), key=lambda pair: -pair[1]):
        memory = f"{resident[name]:.0f}" if name in resident else "–"
        table.add_row(name, f"{seconds / max(orders, 1) * 1e6:.1f}", memory)
    table.add_row("all", f"{sum(spent_s.values()) / max(orders, 1) * 1e6:.1f}", "")
    console.print(table)


def print_latency(console: Console, tally: Tally, rate: int) -> None:
    """Print the time until the 202, and from there until status shows the job's end, at a rate below capacity."""
    table = Table(f"at {rate} orders/s", "p50 ms", "p99 ms", "max ms", "requests")
    for name, times in (("request to 202", tally.accepted_s), ("202 to visible in status", tally.visible_s)):
        figures = (quantile(times, 0.5), quantile(times, 0.99), max(times, default=0.0))
        table.add_row(name, *(f"{figure * 1000:.1f}" for figure in figures), str(len(times)))
    console.print(table)
    console.print(f"refused: {tally.refused or 'none'}")


if __name__ == "__main__":
    typer.run(main)
