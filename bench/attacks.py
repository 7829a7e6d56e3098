"""`python -m bench.attacks`: what one client that takes all it can get does to the services and to another client.

One sandbox suffers one attack after another. For each: the resident memory of the services, and a good client's
response times, idle before each attack and meanwhile. Exits with status 1 if a service exceeds its memory.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Annotated, Any

import aiohttp
import psutil
import typer
import uvloop
from rich.console import Console
from rich.table import Table

from bench import attack_data
from bench.attackers import EVENTS, FULFILMENT, IMPORT, Target
from bench.environment import REPOSITORY, BenchSandbox, quantile, run_python, running_sandbox
from bench.good_client import (
    APIS,
    RATES,
    GoodClient,
    Measurement,
    bearer,
    nothing_measured,
    prefer_this_process,
    write_clients,
)
from bench.rounds import MAX_FOREIGN_SHARE, MachineWatch
from services.chassis.avro.schemas import Schemas

MAX_RESIDENT_MIB = 300
MAX_SLOWDOWN = 2.0
SERVICES = ("auth", "ingest", "validator", "status", "fulfilment", "ledger", "webhooks")
# Of the first demo site, with the default limits.
ATTACKER, API_KEY = ("5934de97c95e1ced", "2l9dr0jkink11ad49hg93it52d"), "12345"
# Of an attack's length, for which the good client is measured alone before it.
IDLE_SHARE, WARM_UP_S = 0.5, 1.0
SAMPLE_S = 0.1
DEADLINE_S = 120.0
# Attack, the service that the good client uses meanwhile, and whether it goes through the gateway.
ATTACKS = (
    ("slow_bodies", "ingest", False),
    ("slow_bodies", "ingest", True),
    ("gzip_bombs", "ingest", False),
    ("gzip_bombs", "ingest", True),
    ("schemas", "ingest", False),
    ("batches", "ingest", False),
    ("records_pages", "status", False),
    ("job_lists", "status", False),
    ("small_jobs_events", "status", False),
    ("order_pages", "fulfilment", False),
    ("sales_pages", "ledger", False),
    ("longest_sale", "ledger", False),
    ("sales_exports", "ledger", False),
    ("feed_pages", "webhooks", False),
    ("deliveries", "webhooks", False),
    ("feed_streams", "webhooks", False),
    ("token_guesses", "auth", False),
)


@dataclass(frozen=True, slots=True)
class Attack:
    """What an attack did: the good client's measurement, and the highest resident memory in MiB by service."""

    name: str
    service: str
    measured: Measurement
    peak_mib: Mapping[str, float]
    answers: Mapping[str, int]
    disturbance: str | None


def main(
    seconds: Annotated[float, typer.Option(help="Length of each attack.")] = 16,
    only: Annotated[str, typer.Option(help="Run these attacks only: names, separated by commas.")] = "",
) -> None:
    """Attack a sandbox and print a table."""
    with running_sandbox(load_tenant=False) as sandbox:
        clients = write_clients(sandbox.directory)
        run_python(["services", "init", "--tenants", str(clients)], sandbox.environment())
        is_bounded = uvloop.run(measure(sandbox, seconds, only))
    sys.exit(0 if is_bounded else 1)


async def measure(sandbox: BenchSandbox, seconds: float, only: str) -> bool:
    """Run all attacks; return whether all services kept within their memory."""
    wanted = only.split(",") if only else [name for name, _, _ in ATTACKS] + ["closing"]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        run = _Run(sandbox, session, seconds)
        await run.prepare()
        is_preferred = prefer_this_process()
        attacks = [
            await run.suffer(f"{name}{', gateway' if gateway else ''}", service, partial(run.attack, name, gateway))
            for name, service, gateway in ATTACKS
            if name in wanted
        ]
        if "closing" in wanted:
            day = await run.fill_day()
            attacks.append(await run.suffer("closing a day", "fulfilment", partial(run.close_day, day)))
    return _report(attacks, run.idle, is_preferred=is_preferred)


def _report(attacks: Sequence[Attack], idle: Mapping[str, Measurement], *, is_preferred: bool) -> bool:
    console = Console(width=180)
    table = Table(
        *("attack", "answers", "good client", "requests", "idle p50, p99 ms", "meanwhile p50, p99, max ms"),
        *("p99 ÷ idle", "own lag p99, max ms", "peak MiB", "disturbed by"),
    )
    for each in attacks:
        table.add_row(*_columns(each, idle[each.service]))
    console.print(table)
    if not is_preferred:
        console.print("this process may not have priority over others: its lag is part of the good client's times")
    peaks = {name: max(each.peak_mib[name] for each in attacks) for name in SERVICES}
    console.print("peak resident MiB: " + ", ".join(f"{name} {mib:.0f}" for name, mib in peaks.items()))
    slow = [each.name for each in attacks if _slowdown(each, idle[each.service]) >= MAX_SLOWDOWN]
    console.print(f"p99 at least {MAX_SLOWDOWN:g} times the idle one: {'; '.join(slow) or 'never'}")
    return max(peaks.values()) <= MAX_RESIDENT_MIB


def _slowdown(attack: Attack, idle: Measurement) -> float:
    return quantile(attack.measured.times_s, 0.99) / max(quantile(idle.times_s, 0.99), 1e-6)


def _columns(attack: Attack, idle: Measurement) -> list[str]:
    measured = attack.measured
    memory = ", ".join(f"{name} {mib:.0f}" for name, mib in attack.peak_mib.items())
    return [
        attack.name,
        ", ".join(f"{status} × {count}" for status, count in sorted(attack.answers.items())),
        attack.service + "".join(f", {status} × {count}" for status, count in sorted(measured.errors.items())),
        f"{len(idle.times_s)}, {len(measured.times_s)}",
        _milliseconds(idle.times_s, 0.5, 0.99),
        _milliseconds(measured.times_s, 0.5, 0.99, 1.0),
        f"{_slowdown(attack, idle):.1f}",
        _milliseconds(measured.lags_s, 0.99, 1.0),
        memory,
        attack.disturbance or "",
    ]


def _milliseconds(times_s: Sequence[float], *shares: float) -> str:
    return ", ".join(f"{quantile(times_s, share) * 1000:.1f}" for share in shares)


class _Run:
    """One sandbox with the data that attackers ask for."""

    def __init__(self, sandbox: BenchSandbox, session: aiohttp.ClientSession, seconds: float) -> None:
        self._endpoints = sandbox.endpoints
        self._seconds = seconds
        self._pids = list(sandbox.processes().values())
        self._processes = {name: psutil.Process(pid) for name, pid in sandbox.processes().items() if name in SERVICES}
        self._session = session
        self._gateway: str = self._endpoints["gateway"]
        self._good = GoodClient(session, self._gateway)
        self._mongodb: str = self._endpoints["mongodb_uri"]
        self._target: Target = {}
        self._transaction = ""
        self.idle: dict[str, Measurement] = {}

    async def prepare(self) -> None:
        """Prepare the good client, and store what attackers ask for."""
        await self._good.prepare()
        tokens = {api: await self._good.get_token(api, ATTACKER) for api in APIS}
        self._transaction = await self._good.place_order(bearer(tokens[FULFILMENT]))
        endpoint = await self._create_endpoint(tokens[EVENTS])
        await attack_data.fill_events(self._mongodb, endpoint)
        await asyncio.to_thread(attack_data.fill_ledger, self._mongodb)
        self._target = {
            "endpoint": endpoint,
            "user": attack_data.ATTACKED_USER,
            "sale": attack_data.LARGE_SALE,
            "tokens": tokens,
            "job": await attack_data.fill_status(self._mongodb),
            "small_job": await self._good.import_orders(bearer(tokens[IMPORT]), API_KEY),
            "kafka": self._endpoints["kafka_bootstrap_servers"],
            "prefix": Schemas.load(REPOSITORY / "schemas")["order"].prefix.decode("latin-1"),
            "seconds": self._seconds,
        }
        await asyncio.to_thread(attack_data.fill_orders, self._mongodb, self._transaction)

    async def suffer(self, name: str, service: str, attack: Callable[[], Awaitable[Mapping[str, int]]]) -> Attack:
        """Measure the good client without the attack, which adds to `idle`, and during it."""
        if service not in self.idle:
            self.idle[service] = nothing_measured()
            await self._good.measure(service, partial(asyncio.sleep, WARM_UP_S))
        self.idle[service].add(
            await self._good.measure(service, partial(asyncio.sleep, self._seconds * IDLE_SHARE)),
        )
        answers: Mapping[str, int] = {}

        async def run_attack() -> None:
            nonlocal answers
            answers = await attack()

        watch = MachineWatch(self._pids)
        async with self._peaks() as peaks:
            measured = await self._good.measure(service, run_attack)
        disturbance = watch.disturbance(max_foreign_share=MAX_FOREIGN_SHARE)
        return Attack(name, service, measured, peaks, answers, disturbance)

    async def attack(self, name: str, through_gateway: bool) -> Mapping[str, int]:  # noqa: FBT001 - of a row of ATTACKS
        """Run an attacker's process; return how often each status was the answer."""
        services = {name: ports["api"] for name, ports in self._endpoints["services"].items() if ports}
        addresses = dict.fromkeys(RATES, self._gateway) if through_gateway else {each: services[each] for each in RATES}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.attackers", name),
            cwd=REPOSITORY,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # Its priority is its session's: see `bench.attackers`.
            start_new_session=True,
        )
        output, _ = await process.communicate(json.dumps(self._target | addresses).encode())
        answers: Mapping[str, int] = json.loads(output)["answers"]
        return answers

    async def fill_day(self) -> dict[str, Any]:
        """Store the transactions of a day that has ended; return its purchase order."""
        return await asyncio.to_thread(attack_data.fill_day, self._mongodb, self._transaction)

    async def close_day(self, order: dict[str, Any]) -> Mapping[str, int]:
        """End the day, and wait until it is closed."""
        await asyncio.to_thread(attack_data.end_day, self._mongodb, order)
        began = monotonic()
        while not await asyncio.to_thread(attack_data.is_closed, self._mongodb, order["_id"]):
            if monotonic() - began > DEADLINE_S:
                return {"not closed": 1}
            await asyncio.sleep(SAMPLE_S)
        return {"transactions": attack_data.DAY_TRANSACTIONS}

    @asynccontextmanager
    async def _peaks(self) -> AsyncIterator[dict[str, float]]:
        peaks: dict[str, float] = {}

        async def sample() -> None:
            while True:
                for name, process in self._processes.items():
                    peaks[name] = max(peaks.get(name, 0.0), process.memory_info().rss / 2**20)
                await asyncio.sleep(SAMPLE_S)

        task = asyncio.create_task(sample())
        try:
            yield peaks
        finally:
            task.cancel()

    async def _create_endpoint(self, token: str) -> str:
        """Create an endpoint that is disabled at once: nothing is sent to it."""
        url, headers = f"{self._gateway}{EVENTS}/{API_KEY}/endpoints", bearer(token)
        async with self._session.post(url, json={"url": "https://attacker.example/"}, headers=headers) as response:
            response.raise_for_status()
            endpoint = str((await response.json())["id"])
        async with self._session.patch(f"{url}/{endpoint}", json={"enabled": False}, headers=headers) as response:
            response.raise_for_status()
        return endpoint


if __name__ == "__main__":
    typer.run(main)
