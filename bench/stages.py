"""`python -m bench.stages`: ingest and the validator compared with baselines, minimal programs for the same work.

All use one broker; the program under test has one core, everything else the other; baseline and service run
alternately. Compare the ratios; absolute figures are for orientation. A baseline that does not keep its core busy is
limited by something else, and its ratio is not printed.
"""

import asyncio
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

import psutil
import typer
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.closed_loop import closed_loop
from bench.environment import (
    OTHER_CORE,
    REPOSITORY,
    TESTED_CORE,
    BenchSandbox,
    pin_to_core,
    run_python,
    running_sandbox,
)
from bench.raw_http import build_request
from bench.tenant import API_KEY, CLIENT, SECRET, build_bodies, build_order

PARTITIONS = 12
IMPORT = "/omnichannel/api/v1"
ORDERS = "orders.submitted.v1"
POST, PUT, VALIDATE = "POST of 100, gzipped", "PUT of one", "validate"
MIN_BUSY_SHARE = 0.9


@dataclass
class Measurements:
    """What one program took in each of its runs."""

    rates: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    busy_shares: list[float] = field(default_factory=list)

    def add(self, records: int, wall_s: float, cpu_s: float) -> None:
        """Add one run."""
        self.rates.append(records / wall_s)
        self.cpu_us.append(cpu_s / records * 1e6)
        self.busy_shares.append(cpu_s / wall_s)

    def drop_warm_up(self) -> None:
        """Discard the first run."""
        del self.rates[0], self.cpu_us[0], self.busy_shares[0]


class Pair(NamedTuple):
    """The measurements of a baseline and of the service."""

    baseline: Measurements
    service: Measurements


def main(
    rounds: Annotated[int, typer.Option(help="Measured runs of each program.")] = 7,
    seconds: Annotated[float, typer.Option(help="Length of a run under load.")] = 3,
    records: Annotated[int, typer.Option(help="Records to validate in a run.")] = 100_000,
) -> None:
    """Measure each stage and print one table."""
    with running_sandbox() as sandbox:
        for name in ("validator", "status", "fulfilment"):
            sandbox.run("stop", name)
        print_table(measure(sandbox, rounds, seconds, records))


def measure(sandbox: BenchSandbox, rounds: int, seconds: float, records: int) -> dict[str, Pair]:
    """Measure baseline and service of each stage."""
    endpoints = sandbox.endpoints
    brokers, ingest = endpoints["kafka_bootstrap_servers"], endpoints["services"]["ingest"]["api"]
    asyncio.run(create_topics(brokers, "baseline.ingest", "baseline.validate"))
    pids = sandbox.processes()
    pin_to_cores(pids)
    pairs = {name: Pair(Measurements(), Measurements()) for name in (POST, PUT, VALIDATE)}
    hundreds, singles = build_requests(endpoints["gateway"])
    with ingest_baseline(brokers) as baseline:
        programs = (baseline, (pids["ingest"], int(ingest.rsplit(":", 1)[1])))
        for _ in track(range(rounds + 1), "POST and PUT"):
            for at, (pid, port) in enumerate(programs):
                measure_under_load(pairs[POST][at], pid, port, hundreds, connections=16, size=100, seconds=seconds)
                measure_under_load(pairs[PUT][at], pid, port, singles, connections=64, size=1, seconds=seconds)
    environment = sandbox.environment("validator")
    records = min(records, asyncio.run(count_records(brokers, ORDERS)))
    for number in track(range(rounds + 1), "validate"):
        baseline_arguments = (brokers, ORDERS, "baseline.validate", str(records))
        pairs[VALIDATE].baseline.add(*run_once("bench.baselines.validate", *baseline_arguments))
        group = {"VALIDATOR_GROUP": f"bench-{number}", "LOG_LEVEL": "ERROR"}
        pairs[VALIDATE].service.add(*run_once("bench.validator", str(records), environment=environment | group))
    for pair in pairs.values():
        pair.baseline.drop_warm_up()
        pair.service.drop_warm_up()
    return pairs


def pin_to_cores(pids: Mapping[str, int]) -> None:
    """Give ingest a core of its own; everything else shares the other."""
    for name, pid in pids.items():
        for thread in psutil.Process(pid).threads():
            os.sched_setaffinity(thread.id, {TESTED_CORE if name == "ingest" else OTHER_CORE})
    os.sched_setaffinity(0, {OTHER_CORE})


async def create_topics(brokers: str, *names: str) -> None:
    """Create the topics of the baselines."""
    client = AIOKafkaAdminClient(bootstrap_servers=brokers)
    await client.start()
    await client.create_topics([NewTopic(name, PARTITIONS, 1) for name in names])
    await client.close()


async def count_records(brokers: str, topic: str) -> int:
    """Return the number of records on a topic."""
    client = AIOKafkaConsumer(bootstrap_servers=brokers)
    await client.start()
    ends = await client.end_offsets([TopicPartition(topic, number) for number in range(PARTITIONS)])
    await client.stop()
    return sum(ends.values())


def build_requests(gateway: str) -> tuple[list[bytes], list[bytes]]:
    """Return requests of a hundred orders, and of one."""
    credentials = {"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": SECRET}
    form = urllib.parse.urlencode(credentials).encode()
    with urllib.request.urlopen(f"{gateway}{IMPORT}/oauth2/token", form) as response:  # noqa: S310 - the sandbox's own address
        token = json.loads(response.read())["access_token"]
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    generator = random.Random(8)
    hundreds = [
        build_request("POST", f"{IMPORT}/{API_KEY}/orders", body, {**headers, "Content-Encoding": "gzip"})
        for body in build_bodies(20, size=100, faulty_share=0.02)
    ]
    singles = [
        build_request("PUT", f"{IMPORT}/{API_KEY}/orders/users/{each['userId']}", json.dumps(each).encode(), headers)
        for each in (build_order(number, generator) for number in range(200))
    ]
    return hundreds, singles


@contextmanager
def ingest_baseline(brokers: str) -> Iterator[tuple[int, int]]:
    """Run the baseline of ingest; yield its process id and port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "bench.baselines.ingest", str(port), brokers, "baseline.ingest"]
    with subprocess.Popen(
        pin_to_core(command, TESTED_CORE), cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            if process.stdout is None or process.stdout.readline() != "up\n":
                raise SystemExit("the baseline of ingest did not start")
            yield process.pid, port
        finally:
            process.terminate()


def measure_under_load(
    measurements: Measurements,
    pid: int,
    port: int,
    requests: list[bytes],
    *,
    connections: int,
    size: int,
    seconds: float,
) -> None:
    """Measure one run of a program that answers requests of `size` records."""
    before = psutil.Process(pid).cpu_times()
    statuses, wall_s = asyncio.run(closed_loop(port, requests, connections=connections, seconds=seconds))
    after = psutil.Process(pid).cpu_times()
    if set(statuses) != {202}:
        raise SystemExit(f"not every request was accepted: {statuses}")
    measurements.add(statuses[202] * size, wall_s, sum(after[:2]) - sum(before[:2]))


def run_once(module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> tuple[int, float, float]:
    """Run a program that reads records and prints what it took; return records, wall-clock and CPU seconds."""
    output = run_python([module, *arguments], environment or {}, core=TESTED_CORE)
    result = json.loads(output.splitlines()[-1])
    return result["records"], result["wall_s"], result["cpu_s"]


def print_table(pairs: Mapping[str, Pair]) -> None:
    """Print medians; the ratio is the median of the runs' ratios."""
    table = Table("stage", "baseline/s", "CPU µs", "busy", "service/s", "CPU µs", "busy", "of baseline", "from – to")
    for name, (baseline, service) in pairs.items():
        table.add_row(name, *_figures(baseline), *_figures(service), *_ratio(baseline, service))
    Console(width=120).print(table)


def _figures(measurements: Measurements) -> tuple[str, str, str]:
    return (
        f"{statistics.median(measurements.rates):,.0f}",
        f"{statistics.median(measurements.cpu_us):.1f}",
        f"{statistics.median(measurements.busy_shares):.0%}",
    )


def _ratio(baseline: Measurements, service: Measurements) -> tuple[str, str]:
    if statistics.median(baseline.busy_shares) < MIN_BUSY_SHARE:
        return "baseline not busy", "–"
    ratios = sorted(ours / bare for bare, ours in zip(baseline.rates, service.rates, strict=True))
    return f"{statistics.median(ratios):.2f}", f"{ratios[0]:.2f} – {ratios[-1]:.2f}"


if __name__ == "__main__":
    typer.run(main)
