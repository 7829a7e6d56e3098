"""`python -m bench`: a sandbox of its own, load on it, and what was measured."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import psutil
import typer
from rich.console import Console
from rich.table import Table

from bench.load import Client, Tally, closed_loop, open_loop
from bench.tenant import bodies, write_documents

REPOSITORY = Path(__file__).resolve().parents[1]
CONNECTIONS = 16


def main(
    seconds: Annotated[float, typer.Option(help="Length of each measurement.")] = 20,
    rate: Annotated[int, typer.Option(help="Orders per second when latency is measured.")] = 1_000,
) -> None:
    """Measure a whole sandbox on this machine: load, broker, database and all services share its cores."""
    with installation() as place:
        asyncio.run(measure(place, seconds, rate))


@contextmanager
def installation() -> Iterator[Path]:
    """The directory of a sandbox that runs meanwhile and has the benchmark's tenant."""
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        run(place, "up", "--port", "0")
        try:
            load_tenant(place)
            yield place
        finally:
            run(place, "down")


def run(place: Path, *arguments: str) -> str:
    """A command of the sandbox."""
    environment = {**os.environ, "SANDBOX_DIR": str(place / "sandbox")}
    command = [sys.executable, "-m", "sandbox", *arguments]
    return subprocess.run(
        command, cwd=REPOSITORY, env=environment, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def load_tenant(place: Path) -> None:
    """Add the benchmark's tenant to the running sandbox."""
    tenants, catalogue = write_documents(place)
    told = [line.removeprefix("export ").partition("=") for line in run(place, "env").splitlines()]
    environment = {**os.environ, **{name: value.strip("'") for name, _, value in told}}
    command = [sys.executable, "-m", "services", "init", "--tenants", str(tenants), "--catalogue", str(catalogue)]
    subprocess.run(command, cwd=REPOSITORY, env=environment, check=True, stdout=subprocess.DEVNULL)


async def measure(place: Path, seconds: float, rate: int) -> None:
    """Warm up, then throughput, then latency."""
    base = json.loads((place / "sandbox" / "endpoints.json").read_text())["gateway"]
    hundreds = bodies(50, size=100, faulty_share=0.02)
    console = Console()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        client = Client(base, session)
        await client.authenticate()
        await closed_loop(client, hundreds, seconds=min(seconds / 2, 10), connections=CONNECTIONS)
        before = cpu_seconds(place)
        tally, took = await closed_loop(client, hundreds, seconds=seconds, connections=CONNECTIONS)
        spent = {name: after - before[name] for name, after in cpu_seconds(place).items()}
        show_throughput(console, tally, took, spent, memory(place))
        tally = await open_loop(client, hundreds, per_second=rate / 100, seconds=seconds)
        show_latency(console, tally, rate)


def parts(place: Path) -> list[dict[str, Any]]:
    """The sandbox's processes."""
    found: list[dict[str, Any]] = json.loads(run(place, "status", "--json"))
    return [part for part in found if part.get("pid")]


def cpu_seconds(place: Path) -> dict[str, float]:
    """CPU time of each part so far, and of the load itself."""
    spent = {part["name"]: sum(psutil.Process(part["pid"]).cpu_times()[:2]) for part in parts(place)}
    return {**spent, "load": sum(psutil.Process().cpu_times()[:2])}


def memory(place: Path) -> dict[str, float]:
    """Resident MiB of each part."""
    return {part["name"]: psutil.Process(part["pid"]).memory_info().rss / 2**20 for part in parts(place)}


def show_throughput(
    console: Console, tally: Tally, took: float, spent: dict[str, float], resident: dict[str, float]
) -> None:
    """Orders per second from the first request to the last job's end, and what each part spent on an order."""
    orders = len(tally.jobs) * 100
    slow, slowest = (1000 * quantile(tally.accepted_s, share) for share in (0.5, 0.99))
    console.print(
        f"\nPOST of 100 gzipped orders, {CONNECTIONS} connections: {orders} orders in {took:.1f} s, "
        f"{orders / took:,.0f} orders/s to the end of the last job; answer p50 {slow:.0f} ms, p99 {slowest:.0f} ms; "
        f"refused: {tally.refused or 'none'}"
    )
    table = Table("part", "CPU µs per order", "resident MiB")
    for name, seconds in sorted(spent.items(), key=lambda pair: -pair[1]):
        table.add_row(
            name, f"{seconds / max(orders, 1) * 1e6:.1f}", f"{resident[name]:.0f}" if name in resident else "–"
        )
    table.add_row("all", f"{sum(spent.values()) / max(orders, 1) * 1e6:.1f}", "")
    console.print(table)


def show_latency(console: Console, tally: Tally, rate: int) -> None:
    """From the request to its 202, and from the 202 to the job's end in status, at a rate below the limit."""
    table = Table(f"at {rate} orders/s", "p50 ms", "p99 ms", "max ms", "requests")
    for name, times in (("request to 202", tally.accepted_s), ("202 to visible in status", tally.visible_s)):
        figures = (quantile(times, 0.5), quantile(times, 0.99), max(times, default=0.0))
        table.add_row(name, *(f"{figure * 1000:.1f}" for figure in figures), str(len(times)))
    console.print(table)
    console.print(f"refused: {tally.refused or 'none'}")


def quantile(times: Sequence[float], share: float) -> float:
    """The value below which `share` of the times are."""
    return sorted(times)[min(int(len(times) * share), len(times) - 1)] if times else 0.0


if __name__ == "__main__":
    typer.run(main)
