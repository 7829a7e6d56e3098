"""`python -m bench.growth`: whether cost grows linearly, and memory not at all, with each dimension of the load.

Each row sends a number of orders through a whole sandbox and waits for their jobs. The CPU time per order of what
Tillstream and its servers do is compared with that of the series' first row: it must not grow. Rows of more lines are
compared by line.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Annotated

import aiohttp
import psutil
import typer
from rich.console import Console
from rich.table import Table

from bench.environment import BenchSandbox, running_sandbox
from bench.load import Client, Tally
from bench.tenant import PRODUCTS, build_bodies

CONNECTIONS = 16
BODIES = 20
SERVICES = ("ingest", "validator", "status")
COUNTED = (*SERVICES, "kafka", "mongodb")


@dataclass(frozen=True, slots=True)
class Case:
    """One row: what is sent, and the size of the catalogue it is checked against."""

    orders: int
    batch: int = 100
    lines: int = 5
    catalogue: int = PRODUCTS


WARM_UP = Case(20_000)
SERIES: Mapping[str, Sequence[Case]] = {
    "orders": [Case(10_000), Case(100_000), Case(1_000_000)],
    "batch": [Case(100_000, batch=100), Case(20_000, batch=10), Case(5_000, batch=1)],
    "lines": [Case(20_000, batch=10, lines=lines) for lines in (1, 5)]
    + [Case(6_000, batch=10, lines=50), Case(1_000, batch=10, lines=500)],
    "catalogue": [Case(100_000, catalogue=1_000), Case(100_000, catalogue=1_000_000)],
    "large-catalogue": [Case(100_000, catalogue=5_000_000)],
}
SHORT: Mapping[str, Sequence[Case]] = {
    "orders": [Case(10_000), Case(50_000)],
    "batch": [Case(20_000), Case(2_000, batch=1)],
    "lines": [Case(5_000, batch=10), Case(300, batch=10, lines=500)],
}


@dataclass(frozen=True, slots=True)
class Row:
    """What a case took."""

    case: Case
    took_s: float
    cpu_s: Mapping[str, float]
    resident_mib: Mapping[str, float]
    refused: Mapping[int, int]

    def cpu_us(self, component: str) -> float:
        """The CPU time per order."""
        return self.cpu_s[component] / self.case.orders * 1e6

    @property
    def total_us(self) -> float:
        """The CPU time per order of all components."""
        return sum(map(self.cpu_us, COUNTED))


def main(
    series: Annotated[list[str] | None, typer.Argument(help=f"Which of {', '.join(SERIES)}; all by default.")] = None,
    short: Annotated[bool, typer.Option("--short", help="Fewer orders, and no large catalogues.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Measure the series and print a table of each."""
    known = SHORT if short else SERIES
    rows = {name: measure_series(known[name]) for name in series or known}
    for name, measured in rows.items():
        print_series(name, measured)


def measure_series(cases: Sequence[Case]) -> Sequence[Row]:
    """Measure the cases in one sandbox, but for a new catalogue, which needs another one."""
    rows: list[Row] = []
    for catalogue in dict.fromkeys(case.catalogue for case in cases):
        began = time.perf_counter()
        with running_sandbox(products=catalogue) as sandbox:
            print(f"catalogue of {catalogue:,} loaded after {time.perf_counter() - began:.0f} s")
            rows += asyncio.run(measure_cases(sandbox, [case for case in cases if case.catalogue == catalogue]))
    return rows


async def measure_cases(sandbox: BenchSandbox, cases: Sequence[Case]) -> Sequence[Row]:
    """Warm up, then measure."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        client = Client(sandbox.endpoints["gateway"], session)
        await client.authenticate()
        await send(client, WARM_UP)
        return [await measure(sandbox, client, case) for case in cases]


async def measure(sandbox: BenchSandbox, client: Client, case: Case) -> Row:
    """Send the orders and wait for the ends of their jobs."""
    processes = {name: psutil.Process(pid) for name, pid in sandbox.processes().items() if name in COUNTED}
    before = {name: sum(process.cpu_times()[:2]) for name, process in processes.items()}
    began = time.perf_counter()
    tally = await send(client, case)
    took_s = time.perf_counter() - began
    cpu_s = {name: sum(process.cpu_times()[:2]) - before[name] for name, process in processes.items()}
    resident = {name: processes[name].memory_info().rss / 2**20 for name in SERVICES}
    return Row(case, took_s, cpu_s, resident, tally.refused)


async def send(client: Client, case: Case) -> Tally:
    """Send the case's orders over some connections; return when their last jobs have ended."""
    tally = Tally()
    bodies = build_bodies(BODIES, size=case.batch, lines=case.lines, catalogue=min(case.catalogue, PRODUCTS))
    queue = islice(cycle(bodies), case.orders // case.batch)

    async def send_in_a_row() -> None:
        for body in queue:
            await client.send(body, tally)

    await asyncio.gather(*(send_in_a_row() for _ in range(CONNECTIONS)))
    await asyncio.gather(*(client.wait_for_job(job) for job in tally.jobs[-CONNECTIONS:]))
    return tally


def print_series(name: str, rows: Sequence[Row]) -> None:
    """Print the rows, each with its cost relative to the first one."""
    table = Table(
        "orders", "batch", "lines", "catalogue", "orders/s", "CPU µs an order", "of the first", "resident MiB"
    )
    for row in rows:
        case = row.case
        parts = ", ".join(f"{component} {row.cpu_us(component):,.0f}" for component in COUNTED)
        relative = row.total_us / rows[0].total_us
        by_line = (
            f", by line {relative * rows[0].case.lines / case.lines:.2f}" if case.lines != rows[0].case.lines else ""
        )
        refused = f", refused {row.refused}" if row.refused else ""
        table.add_row(
            *(f"{value:,}" for value in (case.orders, case.batch, case.lines, case.catalogue)),
            f"{case.orders / row.took_s:,.0f}{refused}",
            f"{row.total_us:,.0f} ({parts})",
            f"{relative:.2f}{by_line}",
            ", ".join(f"{service} {row.resident_mib[service]:.0f}" for service in SERVICES),
        )
    console = Console(width=200)
    console.print(name)
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
