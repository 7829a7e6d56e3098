"""`python -m bench.dashboards`: a sandbox with load, Prometheus beside it, and what each panel shows."""

import asyncio
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import aiohttp
import typer
from rich.console import Console
from rich.table import Column, Table

from bench.mixed_traffic import MixedTraffic
from sandbox.dashboards import DEFAULT_VARIABLES, Query, queries, scrape_targets
from sandbox.prometheus import Prometheus, QueryError

REPOSITORY = Path(__file__).resolve().parents[1]
PAUSE_S = 2.0


def main(
    seconds: Annotated[float, typer.Option(help="How long there is load before the panels are asked.")] = 45,
    *,
    stay: Annotated[bool, typer.Option(help="Keep Prometheus running until Ctrl-C.")] = False,
) -> None:
    """Ask every panel of every dashboard. Exit code 1 if one is empty or is an error."""
    # Whoever ends us wants the sandbox ended, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console = Console(width=200) if not Console().is_terminal else Console()
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        run(place, "up", "--port", "0")
        try:
            endpoints = json.loads((place / "sandbox" / "endpoints.json").read_text())
            prometheus = Prometheus(place / "prometheus", targets=scrape_targets(endpoints))
            prometheus.start()
            try:
                asyncio.run(load(endpoints["gateway"], endpoints["kafka_bootstrap_servers"], seconds))
                empty = show(console, prometheus)
                if stay:
                    console.print(f"Prometheus stays at {prometheus.url} until Ctrl-C")
                    keep_loading(endpoints["gateway"], endpoints["kafka_bootstrap_servers"])
            finally:
                prometheus.kill()
        finally:
            run(place, "down")
    raise typer.Exit(bool(empty))


def keep_loading(base: str, kafka: str) -> None:
    with suppress(KeyboardInterrupt):
        asyncio.run(load(base, kafka, math.inf))


def run(place: Path, *arguments: str) -> None:
    """A command of the sandbox."""
    environment = {**os.environ, "SANDBOX_DIR": str(place / "sandbox")}
    command = [sys.executable, "-m", "sandbox", *arguments]
    subprocess.run(command, cwd=REPOSITORY, env=environment, check=True, stdout=subprocess.DEVNULL)


async def load(base: str, kafka: str, seconds: float) -> None:
    """A bit of everything, over and over."""
    until = time.monotonic() + seconds
    async with aiohttp.ClientSession() as session:
        visitor = MixedTraffic(base, session)
        while time.monotonic() < until:
            await visitor.run_once(kafka)
            await asyncio.sleep(PAUSE_S)


def show(console: Console, prometheus: Prometheus) -> list[Query]:
    """Print each query and what it yields; returns those that yield nothing."""
    table = Table("dashboard", "panel", Column("query", overflow="fold"), "now")
    empty = []
    for query in queries({**DEFAULT_VARIABLES, "__range": "5m"}):
        value = answer(prometheus, query)
        if not value:
            empty.append(query)
        table.add_row(query.dashboard.removeprefix("Tillstream: "), query.panel, query.expression, value or "NOTHING")
    console.print(table)
    console.print(f"{len(empty)} queries without an answer" if empty else "every query has an answer")
    return empty


def answer(prometheus: Prometheus, query: Query) -> str:
    """The first values, and how many there are; empty if there are none."""
    try:
        series = prometheus.query(query.expression)
    except QueryError as error:
        Console(stderr=True).print(f"{query.panel}: {error}")
        return ""
    values = [float(one["value"][1]) for one in series if one["value"][1] != "NaN"]
    shown = ", ".join(f"{value:.4g}" for value in values[:3])
    return f"{shown}{', …' if len(values) > 3 else ''} ({len(values)} series)" if values else ""


if __name__ == "__main__":
    typer.run(main)
