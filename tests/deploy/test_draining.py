"""SIGTERM under load: what was taken is answered, and the process is gone in time.

`DRAIN_ROUNDS=20` repeats it as often as the promise says; a test run does it once.
"""

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import aiohttp
import psutil
import pytest

from tests.chassis.eventually import until
from tests.e2e.customer import BASES, DEMO, Customer
from tests.e2e.installation import Installation

ROUNDS = int(os.environ.get("DRAIN_ROUNDS", "1"))
AT_ONCE = 4
BEFORE = 15
EXIT_WITHIN_S = 10


@pytest.fixture(scope="module")
def drained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    made = Installation(tmp_path_factory.mktemp("drained"))
    made.must("up", "--port", "0", within_s=180)
    yield made
    made.must("down")


@pytest.fixture
async def customer(drained: Installation) -> AsyncIterator[Customer]:
    """A customer who knocks at the front door, and opens a connection for each request elsewhere."""
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=30)) as session:
        yield Customer(drained.base, session, DEMO)


@dataclass(slots=True)
class Load:
    """Requests straight to a service, several at once, until told to stop. Whom nobody lets in tries again."""

    request: Callable[[], Awaitable[int]]
    answers: Counter[int] = field(default_factory=Counter)
    shut_out: int = 0
    is_over: bool = False

    async def one(self) -> None:
        while not self.is_over:
            try:
                self.answers[await self.request()] += 1
            except aiohttp.ClientError:
                self.shut_out += 1
                await asyncio.sleep(0.02)


def is_gone(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


async def ended_under(load: Load, installation: Installation, service: str) -> float:
    """Send SIGTERM once the load is rolling; how long the process took to end."""
    pid = installation.parts()[service]["pid"]
    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(load.one())
        await until(lambda: load.answers.total() >= BEFORE, deadline_s=30)
        process, began = psutil.Process(pid), monotonic()
        process.send_signal(signal.SIGTERM)
        try:
            await until(lambda: is_gone(process), deadline_s=EXIT_WITHIN_S + 5)
        finally:
            load.is_over = True
    return monotonic() - began


async def requests_to(service: str, customer: Customer, installation: Installation, jobs: list[str]) -> Load:
    """A request that the service answers, as a load."""
    endpoints: dict[str, Any] = json.loads((installation.directory / "endpoints.json").read_text())
    # The validator has no door of its own: what reaches it came through ingest.
    base = endpoints["services"]["ingest" if service == "validator" else service]["api"]
    key = customer.tenant.api_key
    api = {"auth": "import", "ingest": "import", "validator": "import"}.get(service, service)
    bearer = {"Authorization": f"Bearer {await customer.token(api)}", "Content-Type": "application/json"}

    async def importing() -> int:
        body = json.dumps([customer.order()])
        url = f"{base}{BASES['import']}/{key}/orders"
        async with customer.session.post(url, data=body, headers=bearer) as answer:
            read = await answer.json(content_type=None)
            if answer.status == 202:
                jobs.append(read["jobId"])
            return answer.status

    async def asking() -> int:
        form = {
            "grant_type": "client_credentials",
            "client_id": customer.tenant.client_id,
            "client_secret": customer.tenant.secret,
        }
        async with customer.session.post(f"{base}{BASES['import']}/oauth2/token", data=form) as answer:
            return answer.status

    async def looking() -> int:
        path = {"status": f"{BASES['status']}/{key}/jobs", "fulfilment": f"{BASES['fulfilment']}/orders"}[service]
        async with customer.session.get(f"{base}{path}", headers=bearer) as answer:
            return answer.status

    return Load({"auth": asking, "ingest": importing, "validator": importing}.get(service, looking))


@pytest.mark.timeout(120 + 60 * ROUNDS)
@pytest.mark.parametrize("service", ["auth", "ingest", "validator", "status", "fulfilment"])
async def test_a_service_that_is_told_to_end_answers_what_it_took_and_ends_in_time(
    service: str, drained: Installation, customer: Customer
) -> None:
    """F26. Breaks: SIGTERM, under load. Must hold: no 5xx, exit 0 within 10 s, every accepted job ends, once."""
    jobs: list[str] = []
    for _ in range(ROUNDS):
        load = await requests_to(service, customer, drained, jobs)
        took_s = await ended_under(load, drained, service)
        assert took_s <= EXIT_WITHIN_S
        assert not [status for status in load.answers if status >= 500], load.answers
        await asyncio.to_thread(drained.must, "start", service)
    said = (drained.directory / "logs" / "sandbox.log").read_text(encoding="utf-8")
    assert f"{service} ended with exit code 0" in said
    assert said.count(f"{service} ended with exit code") == said.count(f"{service} ended with exit code 0")
    for job in jobs[-20:]:
        final = await customer.settled(job, within_s=30)
        assert final["summary"]["job"]["baggage"]["records"] == {"total": 1, "failed": 0, "success": 1}
