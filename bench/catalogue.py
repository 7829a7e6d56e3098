"""How large a catalogue may be: `python -m bench.catalogue`. A broker of its own, products loaded, a validator started.

The validator is started twice, because a restart must be as quick with everything there.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import psutil
import typer

from sandbox.kafka import KafkaCluster
from sandbox.ports import free_port
from sandbox.probes import http_status
from sandbox.process import ManagedProcess, Program

REPOSITORY = Path(__file__).resolve().parents[1]
SITES = (608, 609)
STARTS = 2
SECONDS_TO_START = 300.0


def main(products: Annotated[int, typer.Option(help="Products of all sites together.")] = 5_000_000) -> None:
    """Load a catalogue; how long that takes, how soon a validator is ready, and what it holds."""
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        with KafkaCluster(place / "kafka") as cluster:
            environment = {"KAFKA_BOOTSTRAP_SERVERS": cluster.bootstrap_servers}
            operate(environment, "topics", "create")
            file = write_products(place / "products.csv", products)
            began = time.monotonic()
            operate(environment, "catalog", "load", str(file))
            typer.echo(f"{products:,} products loaded in {time.monotonic() - began:.1f} s")
            for _ in range(STARTS):
                start_validator(environment, place)


def write_products(path: Path, count: int) -> Path:
    """A file of products, half of them for each site."""
    with path.open("w", encoding="utf-8") as file:
        file.write("site,productId,name\n")
        file.writelines(f"{SITES[n % len(SITES)]},product-{n:08d},Product {n}\n" for n in range(count))
    return path


def operate(environment: dict[str, str], *arguments: str) -> None:
    """A command of the operator's."""
    command = [sys.executable, "-m", "services", *arguments]
    subprocess.run(command, cwd=REPOSITORY, env={**os.environ, **environment}, check=True, stdout=subprocess.DEVNULL)


def start_validator(environment: dict[str, str], place: Path) -> None:
    """From nothing to /ready, what that costs, and the end of it."""
    operations = free_port()
    child = ManagedProcess(
        Program(
            name="validator",
            command=[sys.executable, "-m", "services.validator"],
            log=place / "validator.log",
            environment={**environment, "OPERATIONS_PORT": str(operations)},
            directory=REPOSITORY,
        )
    )
    began = time.monotonic()
    child.launch()
    try:
        child.wait_until(
            lambda: http_status(f"http://127.0.0.1:{operations}/ready") == 200, deadline_s=SECONDS_TO_START
        )
        took, process = time.monotonic() - began, psutil.Process(child.pid)
        spent, resident = sum(process.cpu_times()[:2]), process.memory_info().rss / 2**20
        typer.echo(f"validator ready in {took:.1f} s ({spent:.1f} s CPU), {resident:,.0f} MiB resident")
    finally:
        child.stop()


if __name__ == "__main__":
    typer.run(main)
