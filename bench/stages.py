"""`python -m bench.stages`: ingest and the validator compared with limit programs and with peers.

A limit program does only the unavoidable part of the work, with the same libraries; a peer does it in the way of
another framework (`bench/peers`). All use one broker; the program under test has one core, everything else the other.
The programs run in turn, in rounds; rounds that the machine disturbed are dropped. Compare the ratios; absolute figures
are for orientation. Rates suffer more than CPU time from what else runs on the machine. A limit program that does not
keep its core busy is limited by something else: its ratio of rates is not printed.
"""

import asyncio
import json
import os
import random
import statistics
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

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
    TESTED_CORE,
    BenchSandbox,
    pin_to_core,
    run_command,
    running_sandbox,
)
from bench.peers import install
from bench.programs import LIMIT, SERVICE, VALIDATE_PROGRAMS, HttpProgram, running_ingest_programs
from bench.raw_http import build_request
from bench.rounds import MAX_FOREIGN_SHARE, MachineWatch, Measurements, describe_machine
from bench.tenant import API_KEY, CLIENT, SECRET, build_bodies, build_order

PARTITIONS = 12
IMPORT = "/omnichannel/api/v1"
ORDERS = "orders.submitted.v1"
INGEST_TOPIC, VALIDATE_TOPIC = "baseline.ingest", "baseline.validate"
POST, PUT, VALIDATE = "POST of 100, gzipped", "PUT of one", "validate"
POST_CONNECTIONS, PUT_CONNECTIONS = 16, 256
MIN_BUSY_SHARE = 0.9

Stage = dict[str, Measurements]


class Rounds:
    """Runs rounds of a stage, and drops the first one and the disturbed ones."""

    def __init__(self, console: Console, own: list[int], *, max_foreign_share: float) -> None:
        self._console = console
        self._own = own
        self._max_foreign_share = max_foreign_share

    def run(
        self, stages: Mapping[str, Stage], rounds: int, measure: Callable[[], None], *, own: Sequence[int] = ()
    ) -> None:
        """Call `measure`, which adds one run of each program, once to warm up and then `rounds` times."""
        dropped: list[str] = []
        for number in track(range(rounds + 1), ", ".join(stages), console=self._console):
            watch = MachineWatch({*self._own, *own})
            measure()
            reason = watch.disturbance(max_foreign_share=self._max_foreign_share)
            if number == 0 or reason:
                for measurements in (one for stage in stages.values() for one in stage.values()):
                    measurements.drop_last()
            if number and reason:
                dropped.append(reason)
        if len(dropped) > rounds / 2:
            raise SystemExit(f"the machine is not quiet enough: {'; '.join(dropped)}")
        for reason in dropped:
            self._console.print(f"dropped a round: {reason}")


def main(
    rounds: Annotated[int, typer.Option(help="Measured runs of each program.")] = 7,
    seconds: Annotated[float, typer.Option(help="Length of a run under load.")] = 3,
    records: Annotated[int, typer.Option(help="Records to validate in a run.")] = 100_000,
    peers: Annotated[bool, typer.Option(help="Run the peers, too; they are installed once.")] = True,  # noqa: FBT002 - an option of the command line
    max_foreign: Annotated[float, typer.Option(help="Share of the machine that other processes may take.")] = (
        MAX_FOREIGN_SHARE
    ),
) -> None:
    """Measure each stage and print a table of each."""
    console = Console(width=140)
    if peers:
        install.install()
    with running_sandbox() as sandbox:
        for name in ("validator", "status", "fulfilment"):
            sandbox.run("stop", name)
        pids = sandbox.processes()
        pin_to_cores(pids)
        asyncio.run(create_topics(sandbox.endpoints["kafka_bootstrap_servers"], INGEST_TOPIC, VALIDATE_TOPIC))
        runner = Rounds(console, list(pids.values()), max_foreign_share=max_foreign)
        console.print(describe_machine())
        for name, stage in measure_ingest(sandbox, runner, rounds, seconds, with_peers=peers).items():
            console.print(build_table(name, stage))
        for name, stage in measure_validate(sandbox, runner, rounds, records, with_peers=peers).items():
            console.print(build_table(name, stage))


def measure_ingest(
    sandbox: BenchSandbox, runner: Rounds, rounds: int, seconds: float, *, with_peers: bool
) -> dict[str, Stage]:
    """Measure POST and PUT of all programs."""
    endpoints = sandbox.endpoints
    ingest = HttpProgram(sandbox.processes()["ingest"], int(endpoints["services"]["ingest"]["api"].rsplit(":", 1)[1]))
    hundreds, singles = build_requests(endpoints["gateway"])
    brokers = endpoints["kafka_bootstrap_servers"]
    with running_ingest_programs(brokers, INGEST_TOPIC, with_peers=with_peers) as running:
        programs = {SERVICE: ingest, **running}
        stages: dict[str, Stage] = {name: {program: Measurements() for program in programs} for name in (POST, PUT)}

        def measure() -> None:
            for name, program in programs.items():
                measure_under_load(stages[POST][name], program, hundreds, POST_CONNECTIONS, size=100, seconds=seconds)
                measure_under_load(stages[PUT][name], program, singles, PUT_CONNECTIONS, size=1, seconds=seconds)

        runner.run(stages, rounds, measure, own=[program.pid for program in programs.values()])
    return stages


def measure_validate(
    sandbox: BenchSandbox, runner: Rounds, rounds: int, records: int, *, with_peers: bool
) -> dict[str, Stage]:
    """Measure validation by all programs."""
    brokers = sandbox.endpoints["kafka_bootstrap_servers"]
    environment = sandbox.environment("validator")
    records = min(records, asyncio.run(count_records(brokers, ORDERS)))
    commands = {name: command for name, command in VALIDATE_PROGRAMS.items() if with_peers or name == LIMIT}
    stage: Stage = {name: Measurements() for name in (SERVICE, *commands)}
    groups = iter(range(rounds + 1))

    def run_once(name: str, command: list[str], own_environment: Mapping[str, str]) -> None:
        output = run_command(pin_to_core(command, TESTED_CORE), own_environment)
        result = json.loads(output.splitlines()[-1])
        stage[name].add(result["records"], result["wall_s"], result["cpu_s"])

    def measure() -> None:
        group = {"VALIDATOR_GROUP": f"bench-{next(groups)}", "LOG_LEVEL": "ERROR"}
        service = [sys.executable, "-m", "bench.validator", str(records)]
        run_once(SERVICE, service, environment | group)
        for name, command in commands.items():
            run_once(name, [*command, brokers, ORDERS, VALIDATE_TOPIC, str(records)], {})

    runner.run({VALIDATE: stage}, rounds, measure)
    return {VALIDATE: stage}


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


def measure_under_load(
    measurements: Measurements,
    program: HttpProgram,
    requests: list[bytes],
    connections: int,
    *,
    size: int,
    seconds: float,
) -> None:
    """Measure one run of a program that answers requests of `size` records."""
    before_s = cpu_seconds(program.pid)
    statuses, wall_s = asyncio.run(closed_loop(program.port, requests, connections=connections, seconds=seconds))
    if set(statuses) != {202}:
        raise SystemExit(f"not every request was accepted: {statuses}")
    measurements.add(statuses[202] * size, wall_s, cpu_seconds(program.pid) - before_s)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process so far."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def build_table(name: str, stage: Stage) -> Table:
    """Build a stage's table: medians, and ratios as medians of the rounds' ratios."""
    service, limit = stage[SERVICE], stage[LIMIT]
    is_busy = statistics.median(limit.busy_shares) >= MIN_BUSY_SHARE
    columns = ("records/s", "from – to", "CPU µs", "busy", "of the limit", "by CPU", "Tillstream is", "by CPU")
    table = Table("program", *columns, title=f"{name}, {len(limit.rates)} rounds")
    for program, one in stage.items():
        table.add_row(
            program,
            f"{statistics.median(one.rates):,.0f}",
            f"{min(one.rates):,.0f} – {max(one.rates):,.0f}",
            f"{statistics.median(one.cpu_us):.1f}",
            f"{statistics.median(one.busy_shares):.0%}",
            _median(one.ratios_to(limit)) if is_busy else "not busy",
            _median(one.cost_ratios_to(limit)),
            _median(service.ratios_to(one)),
            _median(service.cost_ratios_to(one)),
        )
    return table


def _median(ratios: list[float]) -> str:
    middle = statistics.median(ratios)
    spread = max(ratios[-1] - middle, middle - ratios[0])
    return f"{middle:.2f} ± {spread:.2f}"


if __name__ == "__main__":
    typer.run(main)
