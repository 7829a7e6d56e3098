"""Ingest and the validator beside the leanest programs that do their bare work: `python -m bench.stages`.

One broker for all; the program under test has one core, everything else the other; limit and service in turn. Ratios
count, absolute figures are for orientation.
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
from pathlib import Path
from typing import Annotated

import psutil
import typer
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.__main__ import REPOSITORY, installation, parts, run
from bench.closed_loop import hammer, request
from bench.tenant import API_KEY, CLIENT, SECRET, bodies, order

PARTITIONS = 12
IMPORT = "/omnichannel/api/v1"
ORDERS = "orders.submitted.v1"
POST, PUT, VALIDATE = "POST of 100, gzipped", "PUT of one", "validate"
Pair = tuple["Measurements", "Measurements"]


@dataclass
class Measurements:
    """What one program took in each of its turns."""

    rates: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)

    def add(self, records: int, wall_s: float, cpu_s: float) -> None:
        self.rates.append(records / wall_s)
        self.cpu_us.append(cpu_s / records * 1e6)

    def drop_warm_up(self) -> None:
        """The first turn warms up."""
        del self.rates[0], self.cpu_us[0]


def main(
    rounds: Annotated[int, typer.Option(help="How often each program has its turn.")] = 7,
    seconds: Annotated[float, typer.Option(help="Length of a turn under load.")] = 3,
    records: Annotated[int, typer.Option(help="Records to validate in a turn.")] = 100_000,
) -> None:
    """Measure each stage and print one table."""
    with installation() as place:
        for name in ("validator", "status", "fulfilment"):
            run(place, "stop", name)
        print_table(measure(place, rounds, seconds, records))


def measure(place: Path, rounds: int, seconds: float, records: int) -> dict[str, Pair]:
    """Limit and service of each stage."""
    endpoints = json.loads((place / "sandbox" / "endpoints.json").read_text())
    brokers, ingest = endpoints["kafka_bootstrap_servers"], endpoints["services"]["ingest"]["api"]
    asyncio.run(create_topics(brokers, "limit.ingest", "limit.validate"))
    pids = {part["name"]: part["pid"] for part in parts(place)}
    pin_to_cores(pids)
    taken = {name: (Measurements(), Measurements()) for name in (POST, PUT, VALIDATE)}
    hundreds, singles = build_requests(endpoints["gateway"])
    with ingest_baseline(brokers) as limit:
        both = (limit, (pids["ingest"], int(ingest.rsplit(":", 1)[1])))
        for _ in track(range(rounds + 1), "POST and PUT"):
            for at, (pid, port) in enumerate(both):
                measure_under_load(taken[POST][at], pid, port, hundreds, connections=16, each=100, seconds=seconds)
                measure_under_load(taken[PUT][at], pid, port, singles, connections=64, each=1, seconds=seconds)
    told = [line.removeprefix("export ").partition("=") for line in run(place, "env", "validator").splitlines()]
    environment = {name: value.strip("'") for name, _, value in told}
    records = min(records, asyncio.run(count_records(brokers, ORDERS)))
    for number in track(range(rounds + 1), "validate"):
        limit, service = taken[VALIDATE]
        limit.add(*run_once("bench.baselines.validate", brokers, ORDERS, "limit.validate", str(records)))
        group = {"VALIDATOR_GROUP": f"bench-{number}", "LOG_LEVEL": "ERROR"}
        service.add(*run_once("bench.validator", str(records), environment=environment | group))
    for pair in taken.values():
        for each in pair:
            each.drop_warm_up()
    return taken


def cores() -> tuple[int, int]:
    """The core of the program under test, and that of everything else."""
    first, *_, last = sorted(os.sched_getaffinity(os.getppid())) * 2
    return first, last


def pin_to_cores(pids: Mapping[str, int]) -> None:
    """The program under test has a core to itself."""
    tested, other = cores()
    for name, pid in pids.items():
        for thread in psutil.Process(pid).threads():
            os.sched_setaffinity(thread.id, {tested if name == "ingest" else other})
    os.sched_setaffinity(0, {other})


async def create_topics(brokers: str, *names: str) -> None:
    """Topics for the limits."""
    client = AIOKafkaAdminClient(bootstrap_servers=brokers)
    await client.start()
    await client.create_topics([NewTopic(name, PARTITIONS, 1) for name in names])
    await client.close()


async def count_records(brokers: str, topic: str) -> int:
    """Records on a topic."""
    client = AIOKafkaConsumer(bootstrap_servers=brokers)
    await client.start()
    ends = await client.end_offsets([TopicPartition(topic, number) for number in range(PARTITIONS)])
    await client.stop()
    return sum(ends.values())


def build_requests(front_door: str) -> tuple[list[bytes], list[bytes]]:
    """Requests of a hundred orders, and of one."""
    form = {"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": SECRET}
    form_bytes = urllib.parse.urlencode(form).encode()
    with urllib.request.urlopen(f"{front_door}{IMPORT}/oauth2/token", form_bytes) as answer:  # noqa: S310 - the sandbox's own address
        token = json.loads(answer.read())["access_token"]
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    chance = random.Random(8)
    hundreds = [
        request("POST", f"{IMPORT}/{API_KEY}/orders", body, {**headers, "Content-Encoding": "gzip"})
        for body in bodies(20, size=100, faulty_share=0.02)
    ]
    singles = [
        request("PUT", f"{IMPORT}/{API_KEY}/orders/users/{one['userId']}", json.dumps(one).encode(), headers)
        for one in (order(number, chance) for number in range(200))
    ]
    return hundreds, singles


@contextmanager
def ingest_baseline(brokers: str) -> Iterator[tuple[int, int]]:
    """The limit program's process and port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = pinned(sys.executable, "-m", "bench.baselines.ingest", str(port), brokers, "limit.ingest")
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        try:
            if process.stdout is None or process.stdout.readline() != "up\n":
                raise SystemExit("the limit program did not start")
            yield process.pid, port
        finally:
            process.terminate()


def measure_under_load(
    into: Measurements, pid: int, port: int, requests: list[bytes], *, connections: int, each: int, seconds: float
) -> None:
    """A turn of a program that answers requests."""
    before = psutil.Process(pid).cpu_times()
    answers, wall_s = asyncio.run(hammer(port, requests, connections=connections, seconds=seconds))
    after = psutil.Process(pid).cpu_times()
    if set(answers) != {202}:
        raise SystemExit(f"not every request was accepted: {answers}")
    into.add(answers[202] * each, wall_s, sum(after[:2]) - sum(before[:2]))


def run_once(module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> tuple[int, float, float]:
    """A turn of a program that reads records and says what it took."""
    ended = subprocess.run(
        pinned(sys.executable, "-m", module, *arguments),
        cwd=REPOSITORY,
        env={**os.environ, **(environment or {})},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    said = json.loads(ended.stdout.splitlines()[-1])
    return said["records"], said["wall_s"], said["cpu_s"]


def pinned(*command: str) -> list[str]:
    """The command, on the core of the program under test."""
    return ["taskset", "--cpu-list", str(cores()[0]), *command]


def print_table(taken: Mapping[str, Pair]) -> None:
    """Medians; the ratio is that of the rates, pair by pair."""
    table = Table("stage", "limit/s", "CPU µs", "service/s", "CPU µs", "of the limit", "from – to")
    for name, (limit, service) in taken.items():
        ratios = sorted(ours / bare for bare, ours in zip(limit.rates, service.rates, strict=True))
        table.add_row(
            name,
            f"{statistics.median(limit.rates):,.0f}",
            f"{statistics.median(limit.cpu_us):.1f}",
            f"{statistics.median(service.rates):,.0f}",
            f"{statistics.median(service.cpu_us):.1f}",
            f"{statistics.median(ratios):.2f}",
            f"{ratios[0]:.2f} – {ratios[-1]:.2f}",
        )
    Console(width=110).print(table)


if __name__ == "__main__":
    typer.run(main)
