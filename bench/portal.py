"""`python -m bench.portal`: the portal's pages with very many imports, and what live pages of many browsers cost.

Prints the time to the first byte of each page through the gateway, and the processor time, memory and MongoDB commands
of the portal while browsers wait for changes, and while imports end.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from html import unescape
from time import perf_counter
from typing import Annotated, Any
from uuid import uuid4

import aiohttp
import psutil
import typer
from pymongo import MongoClient
from rich.console import Console
from rich.table import Table

from bench.environment import BenchSandbox, quantile, running_sandbox
from bench.query_latency import build_writer
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.clock import now_us
from services.chassis.runtime.settings import MongoSettings
from services.jobs.events import JobEvent, JobHeader, JobKey, Judged, Opened, OutcomeRun
from services.status.adapters.job_store import MongoJobStore
from services.status.flows.apply_events import apply_events
from tests.jobs.events import a_failure, no_product
from tillstream import AsyncClient

# The demo customer of the sandbox.
SITE, API_KEY = 608, "12345"
CLIENT = ("5934de97c95e1ced", "2l9dr0jkink11ad49hg93it52d")
PAGES = (
    "/portal/",
    "/portal/jobs",
    "/portal/jobs?state=COMPLETED&type=orders",
    "/portal/jobs/{job}",
    "/portal/jobs/{job}/mend",
    "/portal/files",
    "/portal/reports?range=year",
    "/portal/users",
    "/portal/codes",
    "/portal/events",
    "/portal/developers",
)
DATABASE = "tillstream"
BATCH = 2_000
# A second between two imports, as long as browsers are watched.
IMPORTS = 10
_TOKEN = re.compile(r'name="form_token" value="([^"]+)"')


def main(
    jobs: Annotated[int, typer.Option(help="Imports of the site.")] = 200_000,
    requests: Annotated[int, typer.Option(help="Requests of each page.")] = 200,
    pause: Annotated[float, typer.Option(help="Seconds between two requests: APIs limit a client's requests.")] = 0.2,
    browsers: Annotated[int, typer.Option(help="Browsers with a live page.")] = 200,
    seconds: Annotated[float, typer.Option(help="How long the browsers wait without a change.")] = 30,
) -> None:
    """Fill a sandbox, and print two tables."""
    with running_sandbox(load_tenant=False) as sandbox:
        asyncio.run(measure(sandbox, jobs=jobs, requests=requests, pause_s=pause, browsers=browsers, seconds=seconds))


async def measure(
    sandbox: BenchSandbox, *, jobs: int, requests: int, pause_s: float, browsers: int, seconds: float
) -> None:
    """Measure the pages, then the browsers."""
    base, console = sandbox.endpoints["gateway"], Console(width=140)
    job = await fill(sandbox.endpoints["mongodb_uri"], jobs)
    async with sign_in(base) as session:
        table = Table("page", "first byte p50, p99 ms", "max", "KB on the wire", title=f"with {jobs:,} imports")
        for path in PAGES:
            times_s, size = await time_page(session, base + path.format(job=job), requests, pause_s)
            shares = ", ".join(f"{quantile(times_s, share) * 1e3:.1f}" for share in (0.5, 0.99))
            table.add_row(path, shares, f"{max(times_s) * 1e3:.1f}", f"{size / 1e3:.1f}")
        console.print(table)
    await watch(sandbox, base, console, browsers, seconds)


async def fill(uri: str, jobs: int) -> str:
    """Store imports, and at last one with failures, whose id is returned."""
    mongo = Mongo.connect(MongoSettings(mongodb_uri=uri, mongodb_database=DATABASE), retry_writes=False)
    deps = build_writer(MongoJobStore(mongo, now=lambda: datetime.now(UTC)))
    # An hour ago, a millisecond apart.
    began_us = now_us() - 3_600_000_000
    for first in range(0, jobs, BATCH):
        events: list[JobEvent] = []
        for number in range(first, min(first + BATCH, jobs)):
            header = JobHeader(JobKey(SITE, str(uuid4())), 1, began_us + number * 1_000, "online", "orders")
            events += [JobEvent(header, header.created_at, Opened(None)), _judged(header, "S" if number % 50 else "F")]
        await apply_events(events, deps)
    header = JobHeader(JobKey(SITE, str(uuid4())), 100, now_us(), "offline", "orders")
    await apply_events([JobEvent(header, header.created_at, Opened(None)), _judged(header, "F" * 30 + "S" * 70)], deps)
    await mongo.close()
    return header.key.job_id


def _judged(header: JobHeader, outcomes: str) -> JobEvent:
    failures = [a_failure(index, no_product()) for index, outcome in enumerate(outcomes) if outcome == "F"]
    return JobEvent(header, header.created_at, Judged(OutcomeRun(0, outcomes, "", failures)))


@asynccontextmanager
async def sign_in(base: str) -> AsyncIterator[aiohttp.ClientSession]:
    """A browser of its own, signed in."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar, headers={"Origin": base}) as session:
        async with session.get(f"{base}/portal/sign-in") as response:
            found = _TOKEN.search(await response.text())
        form = {"client_id": CLIENT[0], "client_secret": CLIENT[1]}
        form |= {"form_token": unescape(found[1])} if found else {}
        async with session.post(f"{base}/portal/sign-in", data=form, allow_redirects=False) as response:
            assert response.status == 303, await response.text()
        yield session


async def time_page(session: aiohttp.ClientSession, url: str, requests: int, pause_s: float) -> tuple[list[float], int]:
    """Request a page again and again; return the seconds to each first byte, and its bytes on the wire."""
    times_s, size = [], 0
    for _ in range(requests + 1):
        began = perf_counter()
        async with session.get(url, allow_redirects=False) as response:
            await response.content.readany()
            times_s.append(perf_counter() - began)
            await response.read()
            assert response.status == 200, (url, response.status)
            size = int(response.headers.get("Content-Length", size))
        await asyncio.sleep(pause_s)
    # The first one compiles the template.
    return times_s[1:], size


async def watch(sandbox: BenchSandbox, base: str, console: Console, browsers: int, seconds: float) -> None:
    """Let browsers wait for changes, then end imports; print what it costs."""
    portal = psutil.Process(sandbox.processes()["portal"])
    mongo = MongoClient[dict[str, Any]](sandbox.endpoints["mongodb_uri"])
    table = Table("portal", "CPU, share of a core", "resident MiB", "MongoDB commands per second", "events received")
    async with AsyncExitStack() as stack:
        table.add_row("idle", *await _cost(portal, mongo, asyncio.sleep(seconds)), "")
        sessions = [await stack.enter_async_context(sign_in(base)) for _ in range(browsers)]
        received = [0] * browsers
        begun = [asyncio.Event() for _ in sessions]
        streams = [asyncio.create_task(_read(base, each, received, n, begun[n])) for n, each in enumerate(sessions)]
        await asyncio.gather(*(each.wait() for each in begun))
        first = sum(received)
        waiting = await _cost(portal, mongo, asyncio.sleep(seconds))
        table.add_row(f"{browsers} browsers wait", *waiting, str(sum(received) - first))
        first = sum(received)
        ending = await _cost(portal, mongo, _end_imports(base))
        table.add_row(f"{browsers} browsers, an import a second", *ending, str(sum(received) - first))
        for stream in streams:
            stream.cancel()
        await asyncio.gather(*streams, return_exceptions=True)
    console.print(table)


async def _read(
    base: str, session: aiohttp.ClientSession, received: list[int], number: int, begun: asyncio.Event
) -> None:
    timeout = aiohttp.ClientTimeout(total=None)
    async with session.get(f"{base}/portal/live", timeout=timeout) as response:
        async for line in response.content:
            begun.set()
            received[number] += line.startswith(b"data:")


async def _end_imports(base: str) -> None:
    async with AsyncClient(base, *CLIENT, API_KEY) as client:
        for number in range(IMPORTS):
            order: Mapping[str, Any] = {
                "id": f"live-{number}",
                "userId": "u1",
                "dateTime": "2026-11-30T08:00:00Z",
                "lineItems": [{"productId": "4556", "quantity": 1, "unitPrice": 1}],
            }
            await client.imports.send([order])
            await asyncio.sleep(1)  # the pace of imports that is measured


async def _cost(portal: psutil.Process, mongo: MongoClient[dict[str, Any]], work: Any) -> tuple[str, str, str]:
    """Return what the portal takes while this work is done; the commands are those of all services."""

    def read() -> tuple[float, float, int]:
        times = portal.cpu_times()
        counted = mongo.admin.command("serverStatus")["opcounters"]
        commands = sum(counted[name] for name in ("query", "insert", "update", "delete", "command", "getmore"))
        return perf_counter(), times.user + times.system, commands

    before = read()
    await work
    took_s, cpu_s, commands = (after - earlier for after, earlier in zip(read(), before, strict=True))
    memory = portal.memory_info().rss / 2**20
    return f"{cpu_s / took_s:.3f}", f"{memory:.0f}", f"{commands / took_s:.1f}"


if __name__ == "__main__":
    typer.run(main)
