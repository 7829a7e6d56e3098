"""`python -m bench.attacks`: what one client that takes all it can get does to the services and to another client.

One sandbox suffers one attack after another. For each: the resident memory of the services, and a good client's
response times, idle and meanwhile. Exits with status 1 if a service exceeds its memory.
"""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from time import monotonic, perf_counter
from typing import Annotated, Any

import aiohttp
import psutil
import typer
from rich.console import Console
from rich.table import Table

from bench import attack_data
from bench.attackers import EVENTS, FULFILMENT, IMPORT, LEDGER, STATUS, Target
from bench.environment import REPOSITORY, BenchSandbox, quantile, running_sandbox
from services.chassis.avro.schemas import Schemas

MAX_RESIDENT_MIB = 300
SERVICES = ("auth", "ingest", "validator", "status", "fulfilment", "ledger", "webhooks")
# The demo tenants: both have the default limits.
ATTACKER = ("5934de97c95e1ced", "2l9dr0jkink11ad49hg93it52d", "12345")
GOOD = ("7a81c2f04be96d35", "k3v09qmdw7pz1r5x8tj2bn6hcf", "67890")
APIS = (IMPORT, STATUS, FULFILMENT, LEDGER, EVENTS)
# Requests of the good client per second: below fulfilment's limit; a token takes a tenth of a second of CPU time.
RATES = {"ingest": 20.0, "status": 20.0, "fulfilment": 8.0, "ledger": 20.0, "webhooks": 20.0, "auth": 2.0}
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
class Measurement:
    """Response times in seconds, and the highest resident memory in MiB by service."""

    times_s: list[float]
    errors: Mapping[str, int]
    peak_mib: Mapping[str, float]
    answers: Mapping[str, int]


def main(
    seconds: Annotated[float, typer.Option(help="Length of each attack and each idle measurement.")] = 8,
    only: Annotated[str, typer.Option(help="Run these attacks only: names, separated by commas.")] = "",
) -> None:
    """Attack a sandbox and print a table."""
    with running_sandbox(load_tenant=False) as sandbox:
        is_bounded = asyncio.run(measure(sandbox, seconds, only))
    sys.exit(0 if is_bounded else 1)


async def measure(sandbox: BenchSandbox, seconds: float, only: str) -> bool:
    """Run all attacks; return whether all services kept within their memory."""
    console = Console(width=150)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        run = _Run(sandbox, session, seconds)
        await run.prepare()
        rows = [(name, service, gateway) for name, service, gateway in ATTACKS if not only or name in only.split(",")]
        idle = {service: await run.probe(service) for service in RATES if not only or _is_used(service, rows)}
        table = Table(
            *("attack", "answers", "good client", "idle p50, p99 ms", "meanwhile p50, p99, max ms", "p99 ÷ idle"),
            "peak MiB",
        )
        peaks: dict[str, float] = {}
        for name, service, gateway in rows:
            found = await run.probe(service, partial(run.attack, name, through=gateway))
            table.add_row(f"{name}{', gateway' if gateway else ''}", *_columns(service, idle[service], found))
            _add_peaks(peaks, found)
        if not only or "closing" in only.split(","):
            found = await run.probe("fulfilment", run.close_day)
            table.add_row("closing a day", *_columns("fulfilment", idle["fulfilment"], found))
            _add_peaks(peaks, found)
    console.print(table)
    console.print("peak resident MiB: " + ", ".join(f"{name} {peaks[name]:.0f}" for name in SERVICES if name in peaks))
    return max(peaks.values()) <= MAX_RESIDENT_MIB


def _is_used(service: str, rows: Sequence[tuple[str, str, bool]]) -> bool:
    """Whether one of these attacks is on the service; without any, a day of fulfilment's is closed."""
    return service in ({used for _, used, _ in rows} or {"fulfilment"})


def _add_peaks(peaks: dict[str, float], found: Measurement) -> None:
    for name, mib in found.peak_mib.items():
        peaks[name] = max(peaks.get(name, 0.0), mib)


def _columns(service: str, idle: Measurement, found: Measurement) -> list[str]:
    before = ", ".join(f"{quantile(idle.times_s, share) * 1000:.1f}" for share in (0.5, 0.99))
    meanwhile = ", ".join(f"{quantile(found.times_s, share) * 1000:.1f}" for share in (0.5, 0.99, 1.0))
    errors = "".join(f", {status} × {count}" for status, count in sorted(found.errors.items()))
    memory = ", ".join(f"{name} {mib:.0f}" for name, mib in found.peak_mib.items())
    answers = ", ".join(f"{status} × {count}" for status, count in sorted(found.answers.items()))
    slower = quantile(found.times_s, 0.99) / max(quantile(idle.times_s, 0.99), 1e-6)
    return [answers, f"{service}{errors}", before, meanwhile, f"{slower:.1f}", memory]


class _Run:
    """One sandbox with the data that attackers ask for."""

    def __init__(self, sandbox: BenchSandbox, session: aiohttp.ClientSession, seconds: float) -> None:
        self._endpoints = sandbox.endpoints
        self._sandbox = sandbox
        self._session = session
        self._seconds = seconds
        self._processes = {name: psutil.Process(pid) for name, pid in sandbox.processes().items() if name in SERVICES}
        self._gateway: str = self._endpoints["gateway"]
        self._mongodb: str = self._endpoints["mongodb_uri"]
        self._good: dict[str, str] = {}
        self._target: Target = {}
        self._transactions: dict[str, str] = {}
        self._job = ""

    async def prepare(self) -> None:
        """Get tokens, place an order for each client, and store what attackers ask for."""
        tokens = {api: await self._token(api, ATTACKER) for api in APIS}
        self._good = {api: await self._token(api, GOOD) for api in APIS}
        for name, headers in (("attacker", tokens), ("good", self._good)):
            self._transactions[name] = await self._place_order(headers[FULFILMENT])
        self._job = await self._import(self._good[IMPORT], GOOD[2])
        endpoint = await self._create_endpoint(tokens[EVENTS])
        await attack_data.fill_events(self._mongodb, endpoint)
        await asyncio.to_thread(attack_data.fill_ledger, self._mongodb)
        self._target = {
            "endpoint": endpoint,
            "user": attack_data.ATTACKED_USER,
            "sale": attack_data.LARGE_SALE,
            "tokens": tokens,
            "job": await attack_data.fill_status(self._mongodb),
            "small_job": await self._import(tokens[IMPORT], ATTACKER[2]),
            "kafka": self._endpoints["kafka_bootstrap_servers"],
            "prefix": Schemas.load(REPOSITORY / "schemas")["order"].prefix.decode("latin-1"),
            "seconds": self._seconds,
        }
        await asyncio.to_thread(attack_data.fill_orders, self._mongodb, self._transactions["attacker"])

    async def probe(
        self, service: str, attack: Callable[[], Awaitable[Mapping[str, int]]] | None = None
    ) -> Measurement:
        """Send the good client's requests on schedule during the attack, or for as long as one takes."""
        times_s, errors = list[float](), Counter[str]()

        async def request(due: float) -> None:
            try:
                async with self._request(service) as response:
                    await response.read()
                    if response.status >= 300:
                        errors[str(response.status)] += 1
            except aiohttp.ClientError:
                errors["reset"] += 1
            times_s.append(perf_counter() - due)

        async def request_on_schedule() -> None:
            began = perf_counter()
            async with asyncio.TaskGroup() as group:
                number = 0
                while not is_over.is_set():
                    due = began + number / RATES[service]
                    await asyncio.sleep(max(due - perf_counter(), 0))
                    group.create_task(request(due))
                    number += 1

        is_over = asyncio.Event()
        async with self._peaks() as peaks:
            requests = asyncio.create_task(request_on_schedule())
            answers = await attack() if attack is not None else {}
            if attack is None:
                await asyncio.sleep(self._seconds)
            is_over.set()
            await requests
        return Measurement(times_s, errors, peaks, answers)

    async def attack(self, name: str, *, through: bool) -> Mapping[str, int]:
        """Run an attacker's process; return how often each status was the answer."""
        services = {name: ports["api"] for name, ports in self._endpoints["services"].items() if ports}
        addresses = dict.fromkeys(RATES, self._gateway) if through else {each: services[each] for each in RATES}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.attackers", name),
            cwd=REPOSITORY,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate(json.dumps(self._target | addresses).encode())
        answers: Mapping[str, int] = json.loads(output)["answers"]
        return answers

    async def close_day(self) -> Mapping[str, int]:
        """Store a day that has ended, and wait until it is closed."""
        order = await asyncio.to_thread(attack_data.fill_day, self._mongodb, self._transactions["attacker"])
        began = monotonic()
        while not await asyncio.to_thread(attack_data.is_closed, self._mongodb, order):
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

    def _request(self, service: str) -> Any:
        if service == "ingest":
            url = f"{self._gateway}{IMPORT}/{GOOD[2]}/orders/users/u1"
            return self._session.put(url, json=_order(), headers=_bearer(self._good[IMPORT]))
        if service == "status":
            url = f"{self._gateway}{STATUS}/{GOOD[2]}/job/{self._job}/events"
            return self._session.get(url, headers=_bearer(self._good[STATUS]))
        if service == "auth":
            form = {"grant_type": "client_credentials", "client_id": GOOD[0], "client_secret": GOOD[1]}
            return self._session.post(f"{self._gateway}{IMPORT}/oauth2/token", data=form)
        if service == "ledger":
            url = f"{self._gateway}{LEDGER}/{GOOD[2]}/users/u1/orders"
            return self._session.get(url, headers=_bearer(self._good[LEDGER]))
        if service == "webhooks":
            url = f"{self._gateway}{EVENTS}/{GOOD[2]}/events"
            return self._session.get(url, headers=_bearer(self._good[EVENTS]))
        url = f"{self._gateway}{FULFILMENT}/orders/{self._transactions['good']}"
        return self._session.get(url, headers=_bearer(self._good[FULFILMENT]))

    async def _token(self, api: str, client: tuple[str, str, str]) -> str:
        form = {"grant_type": "client_credentials", "client_id": client[0], "client_secret": client[1]}
        async with self._session.post(f"{self._gateway}{api}/oauth2/token", data=form) as response:
            response.raise_for_status()
            return str((await response.json())["access_token"])

    async def _place_order(self, token: str) -> str:
        body = {"products": [{"sku": "DEMO-INSTANT", "quantity": 1}]}
        url = f"{self._gateway}{FULFILMENT}/orders"
        async with self._session.post(url, json=body, headers=_bearer(token)) as response:
            response.raise_for_status()
            return str((await response.json())["transactionId"])

    async def _create_endpoint(self, token: str) -> str:
        """Create an endpoint that is disabled at once: nothing is sent to it."""
        url, headers = f"{self._gateway}{EVENTS}/{ATTACKER[2]}/endpoints", _bearer(token)
        async with self._session.post(url, json={"url": "https://attacker.example/"}, headers=headers) as response:
            response.raise_for_status()
            endpoint = str((await response.json())["id"])
        async with self._session.patch(f"{url}/{endpoint}", json={"enabled": False}, headers=headers) as response:
            response.raise_for_status()
        return endpoint

    async def _import(self, token: str, api_key: str) -> str:
        url = f"{self._gateway}{IMPORT}/{api_key}/orders"
        async with self._session.post(url, json=[_order()] * 50, headers=_bearer(token)) as response:
            response.raise_for_status()
            return str((await response.json())["jobId"])


def _order() -> dict[str, Any]:
    return {
        "id": "attacked",
        "userId": "u1",
        "dateTime": "2024-05-01T10:00:00+02:00",
        "lineItems": [{"productId": "4556", "quantity": 1, "unitPrice": 9.99}],
    }


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


if __name__ == "__main__":
    typer.run(main)
