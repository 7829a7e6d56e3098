"""`python -m bench.attackers NAME`: one client that takes what it can get. The target comes as JSON on standard input.

It runs in a process of its own with a low priority: an attacker's machine is not the service's.
"""

import asyncio
import gzip
import json
import os
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import aiohttp
import cramjam

from tests.chassis.kafka.batch_fixtures import ZSTD, a_batch, send

IMPORT, STATUS, FULFILMENT, API_KEY = "/omnichannel/api/v1", "/common-status/v1", "/fulfilment/v1", "12345"
LEDGER, EVENTS = "/ledger/v1", "/events/v1"
STREAMS, GUESSES = 300, 50
SLOW_BODIES, BODY_BYTES = 3_000, 102_400
BOMBS, INFLATED_BYTES = 80, 4 * 1024 * 1024
TOPIC, PARTITIONS, BATCH_RECORDS, MIB = "orders.submitted.v1", 12, 56, 1024 * 1024
LINES_BYTES = 3 * MIB
SCHEMA_BYTES = 30_000
RETRY_S = 1.0

Target = dict[str, Any]
Answers = Counter[str]


async def slow_bodies(target: Target, answers: Answers) -> None:
    """Send all but one byte of thousands of bodies, and wait for the time-out."""
    address = urlsplit(target["ingest"])
    head = (
        f"POST {IMPORT}/{API_KEY}/orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {BODY_BYTES}\r\nAuthorization: Bearer {target['tokens'][IMPORT]}\r\n\r\n"
    ).encode()
    body = b" " * (BODY_BYTES - 1)

    async def hold() -> None:
        while True:
            reader, writer = await asyncio.open_connection(address.hostname, address.port)
            try:
                writer.write(head + body)
                answers[(await reader.read(12)).decode().rpartition(" ")[2]] += 1
            except OSError:
                answers["reset"] += 1
            finally:
                writer.close()
            await asyncio.sleep(RETRY_S)

    await _repeat(hold, target, at_once=SLOW_BODIES)


async def gzip_bombs(target: Target, answers: Answers) -> None:
    """Send small bodies that inflate to the maximum."""
    order = json.dumps([{"id": "1", "userId": "u", "dateTime": "2024-05-01T10:00:00Z"}]).encode()
    body = gzip.compress(order + b" " * (INFLATED_BYTES - len(order)))
    headers = _bearer(target, IMPORT) | {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    url = f"{target['ingest']}{IMPORT}/{API_KEY}/orders"
    await _requests(target, answers, lambda session: session.post(url, data=body, headers=headers), at_once=BOMBS)


async def records_pages(target: Target, answers: Answers) -> None:
    """Ask for the longest pages of large records."""
    url = f"{target['status']}{STATUS}/{API_KEY}/job/{target['job']}/records?outcome=failed&rows=10000"
    await _get(target, answers, url, STATUS, at_once=4)


async def small_jobs_events(target: Target, answers: Answers) -> None:
    """Ask for the events of one small job as often as the limit allows, many at once."""
    url = f"{target['status']}{STATUS}/{API_KEY}/job/{target['small_job']}/events"
    await _get(target, answers, url, STATUS, at_once=50)


async def job_lists(target: Target, answers: Answers) -> None:
    """Ask for the longest lists of jobs."""
    await _get(target, answers, f"{target['status']}{STATUS}/{API_KEY}/jobs?rows=10000", STATUS, at_once=50)


async def order_pages(target: Target, answers: Answers) -> None:
    """Ask for the longest pages of large orders."""
    await _get(target, answers, f"{target['fulfilment']}{FULFILMENT}/orders?rows=1000", FULFILMENT, at_once=10)


async def schemas(target: Target, answers: Answers) -> None:
    """Let the registry compare long schemas, without a token."""
    fields = [{"name": f"field{number}", "type": ["null", "string"], "default": None} for number in range(450)]
    schema = json.dumps({"type": "record", "name": "Order", "fields": fields})[:SCHEMA_BYTES]
    url = f"{target['ingest']}/registry/compatibility/subjects/{TOPIC}-value/versions"
    body = {"schema": schema}
    await _requests(target, answers, lambda session: session.post(url, json=body), at_once=30)


async def batches(target: Target, answers: Answers) -> None:
    """Send batches that inflate to 56 MiB to every partition, and records of hundreds of thousands of lines."""
    large = a_batch([bytes(MIB)] * BATCH_RECORDS, lambda data: bytes(cramjam.zstd.compress(data)), codec=ZSTD)
    lines = a_batch([target["prefix"].encode("latin-1") + b"\x02" * LINES_BYTES])
    for partition in range(PARTITIONS):
        await send(target["kafka"], TOPIC, large, lines, partition=partition)
        answers["acknowledged"] += 2


async def sales_pages(target: Target, answers: Answers) -> None:
    """Ask for the longest pages of large sales."""
    url = f"{target['ledger']}{LEDGER}/{API_KEY}/users/{target['user']}/orders?rows=1000"
    await _get(target, answers, url, LEDGER, at_once=10)


async def longest_sale(target: Target, answers: Answers) -> None:
    """Ask for the order that has as many lines as one may have."""
    await _get(target, answers, f"{target['ledger']}{LEDGER}/{API_KEY}/orders/{target['sale']}", LEDGER, at_once=10)


async def sales_exports(target: Target, answers: Answers) -> None:
    """Export all sales, several times at once."""
    await _get(target, answers, f"{target['ledger']}{LEDGER}/{API_KEY}/exports/orders", LEDGER, at_once=10)


async def feed_pages(target: Target, answers: Answers) -> None:
    """Ask for the longest pages of events."""
    await _get(target, answers, f"{target['webhooks']}{EVENTS}/{API_KEY}/events?rows=1000", EVENTS, at_once=50)


async def deliveries(target: Target, answers: Answers) -> None:
    """Ask for the longest pages of deliveries that were tried often."""
    url = f"{target['webhooks']}{EVENTS}/{API_KEY}/endpoints/{target['endpoint']}/deliveries?rows=500"
    await _get(target, answers, url, EVENTS, at_once=50)


async def feed_streams(target: Target, answers: Answers) -> None:
    """Open streams of a long feed, and read none of them."""
    url = f"{target['webhooks']}{EVENTS}/{API_KEY}/events"
    headers = _bearer(target, EVENTS) | {"Accept": "text/event-stream"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def hold() -> None:
            while True:
                try:
                    async with session.get(url, headers=headers) as response:
                        answers[str(response.status)] += 1
                        await asyncio.sleep(target["seconds"] if response.status == HTTPStatus.OK else RETRY_S)
                except aiohttp.ClientError:
                    answers["reset"] += 1
                    await asyncio.sleep(RETRY_S)

        await _repeat(hold, target, at_once=STREAMS)


async def token_guesses(target: Target, answers: Answers) -> None:
    """Guess secrets of many clients: each guess is hashed, and none is another client's failed attempt."""
    url = f"{target['auth']}{IMPORT}/oauth2/token"

    def guess(session: aiohttp.ClientSession) -> Any:
        form = {"grant_type": "client_credentials", "client_id": uuid4().hex[:16], "client_secret": "guessed"}
        return session.post(url, data=form)

    await _requests(target, answers, guess, at_once=GUESSES)


ATTACKS: dict[str, Callable[[Target, Answers], Awaitable[None]]] = {
    function.__name__: function
    for function in (
        slow_bodies,
        gzip_bombs,
        records_pages,
        small_jobs_events,
        job_lists,
        order_pages,
        schemas,
        batches,
        sales_pages,
        longest_sale,
        sales_exports,
        feed_pages,
        deliveries,
        feed_streams,
        token_guesses,
    )
}


async def _get(target: Target, answers: Answers, url: str, api: str, *, at_once: int) -> None:
    headers = _bearer(target, api)
    await _requests(target, answers, lambda session: session.get(url, headers=headers), at_once=at_once)


async def _requests(
    target: Target, answers: Answers, request: Callable[[aiohttp.ClientSession], Any], *, at_once: int
) -> None:
    """Send requests without a pause, except as long as `Retry-After` says."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def send_in_a_row() -> None:
            while True:
                try:
                    async with request(session) as response:
                        await response.read()
                        answers[str(response.status)] += 1
                        pause_s = float(response.headers.get("Retry-After", "0"))
                except aiohttp.ClientError:
                    answers["reset"] += 1
                    pause_s = RETRY_S
                await asyncio.sleep(pause_s)

        await _repeat(send_in_a_row, target, at_once=at_once)


async def _repeat(client: Callable[[], Awaitable[None]], target: Target, *, at_once: int) -> None:
    tasks = [asyncio.ensure_future(client()) for _ in range(at_once)]
    await asyncio.wait(tasks, timeout=target["seconds"])
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _bearer(target: Target, api: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {target['tokens'][api]}", "X-Request-Id": str(uuid4())}


async def main(name: str) -> None:
    """Attack; print how often each status was the answer."""
    target = json.load(sys.stdin)
    answers, began = Counter[str](), monotonic()
    await ATTACKS[name](target, answers)
    print(json.dumps({"answers": answers, "seconds": monotonic() - began}))


def _yield_to_others() -> None:
    """Lower this process's priority: that of its session, where the kernel groups processes by sessions."""
    os.nice(10)
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text("10", encoding="ascii")


if __name__ == "__main__":
    _yield_to_others()
    asyncio.run(main(sys.argv[1]))
