"""Two hundred clients wait for their jobs at two replicas of status."""

import asyncio
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from time import monotonic, time
from typing import Any

import aiohttp
import pytest
from pymongo import MongoClient

from sandbox.ports import free_ports
from tests.e2e.customer import BASES, DEMO, Customer
from tests.e2e.installation import REPOSITORY, Installation

pytestmark = pytest.mark.long

WAITERS, WATCHED_S, MAX_LATENCY_S = 200, 3.0, 1.0


@pytest.fixture(scope="module")
def generous(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A sandbox whose rate limit lets one client send the requests of two hundred."""
    settings = {"STATUS_REQUESTS_PER_SECOND": "10000"}
    made = Installation(tmp_path_factory.mktemp("generous"), settings=settings)
    made.run("up", "--port", "0", within_s=180)
    yield made
    made.run("down")


@pytest.fixture(scope="module")
def environment(generous: Installation) -> dict[str, str]:
    """The environment variables of the sandbox's status service."""
    lines = [line.removeprefix("export ").partition("=") for line in generous.run("env", "status").splitlines()]
    return {name: "".join(shlex.split(value)) for name, _, value in lines}


@pytest.fixture(scope="module")
def second(generous: Installation, environment: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Run another replica of status; yield the base URLs of its API and operations ports."""
    port, operations = free_ports(2)
    ports = {"HTTP_PORT": str(port), "OPERATIONS_PORT": str(operations)}
    process = subprocess.Popen(
        [sys.executable, "-m", "services.status"],
        cwd=REPOSITORY,
        env={**os.environ, **generous.settings, **environment, **ports},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield f"http://127.0.0.1:{port}", f"http://127.0.0.1:{operations}"
    process.terminate()
    assert process.wait(20) == 0


async def test_two_hundred_wait_at_two_replicas_and_are_told_at_once_without_anybody_polling(
    generous: Installation, environment: dict[str, str], second: tuple[str, str]
) -> None:
    """The validator is stopped (SIGSTOP), so all jobs stay open; then it continues, and all of them end.

    Must hold: in the meantime the database gets no more queries than without waiting clients; each response arrives
    soon after its job's end, whichever replica wrote it. Known by the database's counters and the times of the writes.
    """
    status = generous.endpoints["services"]["status"]
    replicas, metrics = (status["api"], second[0]), (status["operations"], second[1])
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        customer = Customer(generous.base, session, DEMO)
        validator = generous.status()["validator"]["pid"]
        os.kill(validator, signal.SIGSTOP)
        with MongoClient[dict[str, Any]](environment["MONGODB_URI"], tz_aware=True) as mongo:
            jobs = [(await customer.send_with_retry([customer.order()])).json["jobId"] for _ in range(WAITERS)]
            headers = {"Authorization": f"Bearer {await customer.token('status')}", "Prefer": "wait=30"}
            await _wait_until_all_open(session, headers, replicas, jobs)
            idle = await _count_queries(mongo)
            waiting = [
                asyncio.create_task(_wait_for_end(session, headers, replicas[number % 2], job))
                for number, job in enumerate(jobs)
            ]
            await _wait_until_all_wait(session, metrics)
            asked = await _count_queries(mongo)
            assert not any(task.done() for task in waiting)
            assert asked <= idle + WAITERS // 10
            os.kill(validator, signal.SIGCONT)
            answered = dict(await asyncio.gather(*waiting))
            found = mongo[environment["MONGODB_DATABASE"]]["jobs"].find(
                {"_id": {"$in": [f"608:{job}" for job in jobs]}}
            )
            ended = {
                document["_id"].partition(":")[2]: document["job"][0]["state"]["written"].timestamp()
                for document in found
            }
    late = {job: answered[job] - ended[job] for job in jobs}
    assert max(late.values()) < MAX_LATENCY_S, sorted(late.values())[-10:]


async def _wait_until_all_open(
    session: aiohttp.ClientSession, headers: dict[str, str], replicas: Sequence[str], jobs: list[str]
) -> None:
    """Wait until both replicas know all jobs, none of which has ended."""
    until = monotonic() + 60
    for job in jobs:
        for base in replicas:
            while True:
                try:
                    async with session.get(_url(base, job), headers={**headers, "Prefer": ""}) as response:
                        if response.status == 200:
                            assert (await response.json())["summary"]["job"]["state"] == "RECEIVED"
                            break
                except aiohttp.ClientError:
                    pass
                assert monotonic() < until, f"{base} does not know job {job}"
                await asyncio.sleep(0.05)


async def _wait_until_all_wait(session: aiohttp.ClientSession, metrics: Sequence[str]) -> None:
    """Wait until, by the metrics of both replicas, all requests are waiting."""
    until, waiting = monotonic() + 60, 0.0
    while waiting < WAITERS:
        assert monotonic() < until, f"only {waiting:.0f} wait"
        await asyncio.sleep(0.1)
        waiting = 0.0
        for base in metrics:
            async with session.get(f"{base}/metrics") as response:
                found = re.search(r"^status_waiters (.+)$", await response.text(), re.MULTILINE)
            waiting += float(found[1]) if found else 0.0


async def _count_queries(mongo: MongoClient[dict[str, Any]]) -> int:
    """Return the number of queries that the database answers within `WATCHED_S`."""
    before = mongo.admin.command("serverStatus")["opcounters"]["query"]
    await asyncio.sleep(WATCHED_S)
    return int(mongo.admin.command("serverStatus")["opcounters"]["query"] - before)


async def _wait_for_end(
    session: aiohttp.ClientSession, headers: dict[str, str], base: str, job: str
) -> tuple[str, float]:
    async with session.get(_url(base, job), headers=headers) as response:
        body = await response.json()
    assert body["summary"]["job"]["terminal"], body
    return job, time()


def _url(base: str, job: str) -> str:
    return f"{base}{BASES['status']}/{DEMO.api_key}/job/{job}"
