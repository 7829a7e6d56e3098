"""`python -m bench.code_orders`: code orders over HTTP on a whole sandbox, from the request to the last code.

Services, broker, database and load share this machine's cores. Each connection sends its next order of one unit when
it has its 202; the clock stops when every order has its code and its events are published.
"""

import asyncio
import json
import os
from collections import Counter
from collections.abc import Mapping
from time import perf_counter
from typing import Annotated, Any
from uuid import uuid4

import aiohttp
import psutil
import typer

from bench.closed_loop import closed_loop
from bench.environment import BenchSandbox, running_sandbox
from bench.raw_http import build_request
from bench.tenant import CLIENT, SECRET
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.settings import MongoSettings

BASE = "/fulfilment/v1"
SKU = "BENCH"
LOAD_CODES = 10_000
LIMITS = {"FULFILMENT_ORDERS_PER_SECOND": "1000000", "FULFILMENT_READS_PER_SECOND": "1000000"}
# Every order has its code, and nothing waits to be published.
UNFINISHED = {"$or": [{"pending": True}, {"outbox.0": {"$exists": True}}]}
COMMANDS = ("find", "insert", "update", "findAndModify", "aggregate")


def main(
    seconds: Annotated[float, typer.Option(help="Length of each round.")] = 10,
    rounds: Annotated[int, typer.Option(help="Number of rounds after the first one, which warms up.")] = 3,
    connections: Annotated[int, typer.Option(help="Concurrent orders.")] = 32,
) -> None:
    """Measure and print."""
    # The service has a limit of ten orders per second for a client.
    os.environ.update(LIMITS)
    with running_sandbox() as sandbox:
        asyncio.run(measure(sandbox, seconds=seconds, rounds=rounds, connections=connections))


async def measure(sandbox: BenchSandbox, *, seconds: float, rounds: int, connections: int) -> None:
    """Load codes, then order them in rounds."""
    environment = sandbox.environment("fulfilment")
    settings = MongoSettings(mongodb_uri=environment["MONGODB_URI"], mongodb_database=environment["MONGODB_DATABASE"])
    async with aiohttp.ClientSession() as session, Mongo.connect(settings) as mongo:
        headers = await authenticate(session, sandbox.endpoints["gateway"])
        await load_codes(session, sandbox.endpoints["gateway"], headers, count=int(1_500 * seconds * (rounds + 1)))
        body = json.dumps({"products": [{"sku": SKU, "quantity": 1}]}).encode()
        order = build_request("POST", f"{BASE}/orders", body, {**headers, "Content-Type": "application/json"})
        port = int(environment["HTTP_PORT"])
        for number in range(rounds + 1):
            watch = Watch(sandbox, mongo)
            await watch.start()
            began = perf_counter()
            statuses, sending_s = await closed_loop(port, [order], connections=connections, seconds=seconds)
            await wait_until_finished(mongo)
            took_s, placed = perf_counter() - began, statuses.pop(202, 0)
            if statuses:
                raise SystemExit(f"refused: {statuses}")
            if number:
                print(f"{placed / sending_s:,.0f} orders/s accepted, {placed / took_s:,.0f} orders/s with their codes")
                await watch.report(placed)


class Watch:
    """The CPU time of all processes, and MongoDB's commands, from `start` on."""

    def __init__(self, sandbox: BenchSandbox, mongo: Mongo) -> None:
        self._processes = {**sandbox.processes(), "load": os.getpid()}
        self._mongo = mongo

    async def start(self) -> None:
        """Note what was before."""
        self._cpu_s, self._commands = self._cpu_seconds(), await self._count_commands()

    async def report(self, orders: int) -> None:
        """Print the CPU time and the commands of each order."""
        spent = {name: (after - self._cpu_s[name]) / orders * 1e6 for name, after in self._cpu_seconds().items()}
        names = sorted(spent, key=lambda name: -spent[name])[:5]
        print("  CPU us per order: " + ", ".join(f"{name} {spent[name]:,.0f}" for name in names))
        commands = await self._count_commands() - self._commands
        print("  commands per order: " + ", ".join(f"{name} {n / orders:.2f}" for name, n in sorted(commands.items())))

    def _cpu_seconds(self) -> Mapping[str, float]:
        return {name: sum(psutil.Process(pid).cpu_times()[:2]) for name, pid in self._processes.items()}

    async def _count_commands(self) -> Counter[str]:
        status = await self._mongo.client.admin.command("serverStatus")
        return Counter({name: status["metrics"]["commands"][name]["total"] for name in COMMANDS})


async def authenticate(session: aiohttp.ClientSession, gateway: str) -> dict[str, str]:
    """Return the headers of an authorised request."""
    form = {"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": SECRET}
    async with session.post(f"{gateway}{BASE}/oauth2/token", data=form) as response:
        response.raise_for_status()
        token = (await response.json())["access_token"]
    return {"Authorization": f"Bearer {token}"}


async def load_codes(session: aiohttp.ClientSession, gateway: str, headers: dict[str, str], *, count: int) -> None:
    """Create the product and load codes."""
    product: dict[str, Any] = {"name": "Card", "unitPrice": "9.99", "currency": "USD"}
    async with session.put(f"{gateway}{BASE}/products/{SKU}", json=product, headers=headers) as response:
        response.raise_for_status()
    for _ in range(0, count, LOAD_CODES):
        url, codes = f"{gateway}{BASE}/stock/{SKU}/codes", {"codes": [uuid4().hex for _ in range(LOAD_CODES)]}
        async with session.post(url, json=codes, headers=headers) as response:
            response.raise_for_status()


async def wait_until_finished(mongo: Mongo) -> None:
    """Return when all orders have their codes and all events are published."""
    async with asyncio.timeout(120):
        while await mongo.collection("transactions").count_documents(UNFINISHED, limit=1):  # noqa: ASYNC110 - of other processes
            await asyncio.sleep(0.05)


if __name__ == "__main__":
    typer.run(main)
