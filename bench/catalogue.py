"""`python -m bench.catalogue`: loads a large catalogue into a broker of its own and starts a validator on it.

The validator is started twice, because a restart must be as quick with the full catalogue.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import psutil
import typer

from bench.environment import REPOSITORY, run_python
from sandbox.kafka import KafkaCluster
from sandbox.ports import free_port
from sandbox.probes import http_status
from sandbox.process import ManagedProcess, Program

SITES = (608, 609)
STARTS = 2
START_TIMEOUT_S = 300.0


def main(products: Annotated[int, typer.Option(help="Products of all sites together.")] = 5_000_000) -> None:
    """Print how long loading takes, how soon a validator is ready, and its memory."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with KafkaCluster(directory / "kafka") as cluster:
            environment = {"KAFKA_BOOTSTRAP_SERVERS": cluster.bootstrap_servers}
            run_python(["services", "topics", "create"], environment)
            file = write_products(directory / "products.csv", products)
            began = time.monotonic()
            run_python(["services", "catalog", "load", str(file)], environment)
            typer.echo(f"{products:,} products loaded in {time.monotonic() - began:.1f} s")
            for _ in range(STARTS):
                start_validator(environment, directory)


def write_products(path: Path, count: int) -> Path:
    """Write a CSV file of products, half of them for each site."""
    with path.open("w", encoding="utf-8") as file:
        file.write("site,productId,name\n")
        file.writelines(f"{SITES[n % len(SITES)]},product-{n:08d},Product {n}\n" for n in range(count))
    return path


def start_validator(environment: dict[str, str], directory: Path) -> None:
    """Start a validator, print what it took until /ready, and stop it."""
    operations = free_port()
    validator = ManagedProcess(
        Program(
            name="validator",
            command=[sys.executable, "-m", "services.validator"],
            log=directory / "validator.log",
            environment={**environment, "OPERATIONS_PORT": str(operations)},
            directory=REPOSITORY,
        )
    )
    began = time.monotonic()
    validator.launch()
    try:
        validator.wait_until(
            lambda: http_status(f"http://127.0.0.1:{operations}/ready") == 200, deadline_s=START_TIMEOUT_S
        )
        took_s, process = time.monotonic() - began, psutil.Process(validator.pid)
        cpu_s, resident = sum(process.cpu_times()[:2]), process.memory_info().rss / 2**20
        typer.echo(f"validator ready in {took_s:.1f} s ({cpu_s:.1f} s CPU), {resident:,.0f} MiB resident")
    finally:
        validator.stop()


if __name__ == "__main__":
    typer.run(main)
