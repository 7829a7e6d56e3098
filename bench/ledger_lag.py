"""`python -m bench.ledger_lag`: from the acceptance of orders to their entries and sums, in a whole sandbox.

Requests of a hundred orders are sent on schedule, whether or not earlier ones are answered; everything shares the
machine's cores.
"""

import asyncio
import gzip
import json
import time
from collections.abc import Sequence
from random import Random
from typing import Annotated, Any

import aiohttp
import typer
from pymongo import AsyncMongoClient

from bench.environment import BenchSandbox, quantile, running_sandbox
from bench.load import Client, Tally
from bench.tenant import SITE, build_order

ORDERS_PER_REQUEST = 100
POLL_S, TIMEOUT_S = 0.02, 60.0
QUANTILES = {"p50": 0.5, "p99": 0.99, "max": 1.0}


def main(
    rate: Annotated[int, typer.Option(help="Orders per second.")] = 1_000,
    seconds: Annotated[float, typer.Option(help="Length of the measurement.")] = 60,
) -> None:
    """Measure and print."""
    with running_sandbox() as sandbox:
        asyncio.run(measure_lag(sandbox, rate=rate, seconds=seconds))


async def measure_lag(sandbox: BenchSandbox, *, rate: int, seconds: float) -> None:
    """Send orders at this rate; print the time from each request's response to all of its entries being readable."""
    environment = sandbox.environment("ledger")
    async with (
        AsyncMongoClient[dict[str, Any]](environment["MONGODB_URI"]) as mongo,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        entries = mongo[environment["MONGODB_DATABASE"]]["ledger_entries"]
        client = Client(sandbox.endpoints["gateway"], session)
        await client.authenticate()
        first = 0
        for length_s in (5.0, seconds):  # the first to warm up
            requests = build_requests(int(rate * length_s / ORDERS_PER_REQUEST), first=first)
            first += len(requests)
            tally, lags_s = await send_and_follow(client, entries, requests, per_second=rate / ORDERS_PER_REQUEST)
            assert not tally.refused, tally.refused
        recorded = await entries.count_documents({"site": SITE})
        assert recorded == first * ORDERS_PER_REQUEST, recorded
    figures = ", ".join(f"{name} {quantile(lags_s, share):.2f} s" for name, share in QUANTILES.items())
    print(f"lag at {rate:,} orders/s for {seconds:.0f} s, {len(lags_s):,} requests, none refused or lost: {figures}")


def build_requests(count: int, *, first: int) -> list[tuple[list[str], bytes]]:
    """Return bodies of a hundred new orders, each with the `_id`s of their entries."""
    generator = Random(first)
    requests = []
    for number in range(first, first + count):
        numbers = range(number * ORDERS_PER_REQUEST, (number + 1) * ORDERS_PER_REQUEST)
        orders = [build_order(each, generator) for each in numbers]
        requests.append(
            ([f"{SITE}|{order['id']}" for order in orders], gzip.compress(json.dumps(orders).encode(), 1, mtime=0))
        )
    return requests


async def send_and_follow(
    client: Client, entries: Any, requests: Sequence[tuple[list[str], bytes]], *, per_second: float
) -> tuple[Tally, list[float]]:
    """Send the requests on schedule; return the seconds from each response to the last of its entries."""
    tally, tasks, began = Tally(), [], time.perf_counter()

    async def follow(ids: list[str], body: bytes) -> float:
        await client.send(body, tally)
        accepted_at = time.perf_counter()
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                if await entries.count_documents({"_id": {"$in": ids}}) == len(ids):
                    break
                await asyncio.sleep(POLL_S)
        return time.perf_counter() - accepted_at

    for number, request in enumerate(requests):
        await asyncio.sleep(max(began + number / per_second - time.perf_counter(), 0))
        tasks.append(asyncio.create_task(follow(*request)))
    return tally, list(await asyncio.gather(*tasks))


if __name__ == "__main__":
    typer.run(main)
