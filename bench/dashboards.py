"""`python -m bench.dashboards`: a sandbox under load with a Prometheus, and the values of each dashboard panel."""

import asyncio
import math
import signal
import sys
import time
from contextlib import suppress
from typing import Annotated

import aiohttp
import typer
from rich.console import Console
from rich.table import Column, Table

from bench.environment import running_sandbox
from bench.mixed_traffic import MixedTraffic
from sandbox.dashboards import DEFAULT_VARIABLES, Query, queries, scrape_targets
from sandbox.prometheus import Prometheus, QueryError

PAUSE_S = 2.0


def main(
    seconds: Annotated[float, typer.Option(help="Seconds of load before the panels are queried.")] = 45,
    *,
    stay: Annotated[bool, typer.Option(help="Keep sandbox, load and Prometheus running until Ctrl-C.")] = False,
) -> None:
    """Query every panel of every dashboard. Exit code 1 if one is empty or fails."""
    # As with Ctrl-C, the sandbox stops, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console = Console(width=200) if not Console().is_terminal else Console()
    with running_sandbox(load_tenant=False) as sandbox:
        endpoints = sandbox.endpoints
        prometheus = Prometheus(sandbox.directory / "prometheus", targets=scrape_targets(endpoints))
        prometheus.start()
        try:
            asyncio.run(load(endpoints["gateway"], endpoints["kafka_bootstrap_servers"], seconds))
            empty = print_panels(console, prometheus)
            if stay:
                console.print(f"Prometheus stays at {prometheus.url} until Ctrl-C")
                with suppress(KeyboardInterrupt):
                    asyncio.run(load(endpoints["gateway"], endpoints["kafka_bootstrap_servers"], math.inf))
        finally:
            prometheus.kill()
    raise typer.Exit(bool(empty))


async def load(base: str, kafka: str, seconds: float) -> None:
    """Send mixed traffic for some seconds."""
    until = time.monotonic() + seconds
    async with aiohttp.ClientSession() as session:
        traffic = MixedTraffic(base, session)
        while time.monotonic() < until:
            await traffic.run_once(kafka)
            await asyncio.sleep(PAUSE_S)


def print_panels(console: Console, prometheus: Prometheus) -> list[Query]:
    """Print each query and its values; return the queries without a value."""
    table = Table("dashboard", "panel", Column("query", overflow="fold"), "now")
    empty = []
    for query in queries({**DEFAULT_VARIABLES, "__range": "5m"}):
        values = evaluate(prometheus, query)
        if not values:
            empty.append(query)
        table.add_row(query.dashboard.removeprefix("Tillstream: "), query.panel, query.expression, values or "EMPTY")
    console.print(table)
    console.print(f"{len(empty)} queries without a value" if empty else "every query has a value")
    return empty


def evaluate(prometheus: Prometheus, query: Query) -> str:
    """Format the first values and the number of series; empty without a value."""
    try:
        series = prometheus.query(query.expression)
    except QueryError as error:
        Console(stderr=True).print(f"{query.panel}: {error}")
        return ""
    values = [float(each["value"][1]) for each in series if each["value"][1] != "NaN"]
    first = ", ".join(f"{value:.4g}" for value in values[:3])
    return f"{first}{', …' if len(values) > 3 else ''} ({len(values)} series)" if values else ""


if __name__ == "__main__":
    typer.run(main)
