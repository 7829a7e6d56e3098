"""Stop and start of a service under load: accepted requests complete, and valid tokens are not refused."""

import asyncio
import json
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

CONCURRENCY = 4
WARM_UP_RESPONSES = 15
EXIT_TIMEOUT_S = 10
# The last accepted requests: the signal arrived while they were in flight.
CHECKED_LAST = 10
MANY = pytest.param(20, marks=[pytest.mark.long, pytest.mark.timeout(1200)])


@pytest.fixture(scope="module")
def drained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    made = Installation(tmp_path_factory.mktemp("drained"))
    made.run("up", "--port", "0", within_s=180)
    yield made
    made.run("down")


@pytest.fixture
async def customer(drained: Installation) -> AsyncIterator[Customer]:
    """A customer who uses a new connection for each request."""
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=30)) as session:
        yield Customer(drained.base, session, DEMO)


@dataclass(slots=True)
class Load:
    """Concurrent requests directly to a service until `is_over`; a refused connection is retried."""

    request: Callable[[], Awaitable[int]]
    answers: Counter[int] = field(default_factory=Counter)
    connection_errors: int = 0
    is_over: bool = False

    async def run(self) -> None:
        while not self.is_over:
            try:
                self.answers[await self.request()] += 1
            except aiohttp.ClientError:
                self.connection_errors += 1
                await asyncio.sleep(0.02)


def has_exited(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


async def terminate_under_load(load: Load, installation: Installation, service: str) -> float:
    """Send SIGTERM under load; return the seconds until the process has exited."""
    pid = installation.status()[service]["pid"]
    async with asyncio.TaskGroup() as group:
        for _ in range(CONCURRENCY):
            group.create_task(load.run())
        await until(lambda: load.answers.total() >= WARM_UP_RESPONSES, deadline_s=30)
        process, began = psutil.Process(pid), monotonic()
        process.send_signal(signal.SIGTERM)
        try:
            await until(lambda: has_exited(process), deadline_s=EXIT_TIMEOUT_S + 5)
        finally:
            load.is_over = True
    return monotonic() - began


class Requests:
    """Requests to a service under load, and the ids of those that it accepted."""

    def __init__(self, service: str, customer: Customer, installation: Installation) -> None:
        # The validator has no API: it gets its load through ingest.
        self._target = "ingest" if service == "validator" else service
        endpoints: dict[str, Any] = json.loads((installation.directory / "endpoints.json").read_text())
        self._base = endpoints["services"][self._target]["api"]
        self._customer = customer
        self._bearer: dict[str, str] = {}
        self.accepted: list[str] = []

    async def load(self) -> Load:
        """Get a token and return the load."""
        api = {"auth": "import", "ingest": "import", "webhooks": "events"}.get(self._target, self._target)
        self._bearer = {
            "Authorization": f"Bearer {await self._customer.token(api)}",
            "Content-Type": "application/json",
        }
        requests = {
            "auth": self._token,
            "ingest": self._import,
            "status": self._list_jobs,
            "fulfilment": self._order,
            "webhooks": self._read_feed,
        }
        return Load(requests[self._target])

    async def _import(self) -> int:
        path = f"{BASES['import']}/{self._customer.tenant.api_key}/orders"
        return await self._post(path, [self._customer.order()], id_field="jobId")

    async def _order(self) -> int:
        products = [{"sku": "DEMO-INSTANT", "quantity": 1}]
        return await self._post(f"{BASES['fulfilment']}/orders", {"products": products}, id_field="transactionId")

    async def _post(self, path: str, payload: Any, *, id_field: str) -> int:
        data = json.dumps(payload)
        async with self._customer.session.post(self._base + path, data=data, headers=self._bearer) as response:
            body = await response.json(content_type=None)
            if response.status == 202:
                self.accepted.append(body[id_field])
            return response.status

    async def _token(self) -> int:
        tenant = self._customer.tenant
        form = {"grant_type": "client_credentials", "client_id": tenant.client_id, "client_secret": tenant.secret}
        url = f"{self._base}{BASES['import']}/oauth2/token"
        async with self._customer.session.post(url, data=form) as answer:
            return answer.status

    async def _list_jobs(self) -> int:
        url = f"{self._base}{BASES['status']}/{self._customer.tenant.api_key}/jobs"
        async with self._customer.session.get(url, headers=self._bearer) as answer:
            return answer.status

    async def _read_feed(self) -> int:
        url = f"{self._base}{BASES['events']}/{self._customer.tenant.api_key}/events"
        async with self._customer.session.get(url, headers=self._bearer) as answer:
            return answer.status

    async def assert_each_ended_once(self) -> None:
        """Assert that the last accepted requests have completed exactly once."""
        for number in self.accepted[-CHECKED_LAST:]:
            await (self._assert_one_code(number) if self._target == "fulfilment" else self._assert_one_record(number))

    async def _assert_one_record(self, job: str) -> None:
        final = await self._customer.wait_for_job(job, within_s=30)
        assert final["summary"]["job"]["baggage"]["records"] == {"total": 1, "failed": 0, "success": 1}

    async def _assert_one_code(self, transaction: str) -> None:
        url = f"{self._base}{BASES['fulfilment']}/orders/{transaction}/codes"
        read: dict[str, Any] = {}

        async def has_ended() -> bool:
            async with self._customer.session.get(url, headers=self._bearer) as answer:
                read.update(await answer.json(content_type=None))
                return answer.status == 200 and read["status"] != "PROCESSING"

        await until(has_ended, deadline_s=30)
        assert read["counts"]["delivered"] == read["counts"]["ordered"] == 1, read


@pytest.mark.parametrize(
    "rounds",
    [1, pytest.param(20, marks=[pytest.mark.long, pytest.mark.timeout(1200)])],
    ids=lambda rounds: f"{rounds}x",
)
@pytest.mark.parametrize("service", ["auth", "ingest", "validator", "status", "fulfilment", "webhooks"])
async def test_a_service_that_is_told_to_end_answers_what_it_took_and_ends_in_time(
    service: str, rounds: int, drained: Installation, customer: Customer
) -> None:
    """F26. Breaks: SIGTERM, under load. Must hold: no 5xx, exit 0 within 10 s, what was accepted ends, once."""
    requests = Requests(service, customer, drained)
    for _ in range(rounds):
        load = await requests.load()
        took_s = await terminate_under_load(load, drained, service)
        assert took_s <= EXIT_TIMEOUT_S
        assert not [status for status in load.answers if status >= 500], load.answers
        await asyncio.to_thread(drained.run, "start", service)
        await requests.assert_each_ended_once()
    output = (drained.directory / "logs" / "sandbox.log").read_text(encoding="utf-8")
    assert f"{service} exited with code 0" in output
    assert output.count(f"{service} exited with code") == output.count(f"{service} exited with code 0")


@pytest.mark.parametrize("service", ["ingest", "status", "fulfilment", "webhooks"])
async def test_a_service_that_has_just_begun_refuses_no_good_token(
    service: str, drained: Installation, customer: Customer
) -> None:
    """Breaks: SIGKILL, and a start under load. Must hold: no 401 or 403 before sites and revocations are read."""
    load = await Requests(service, customer, drained).load()
    async with asyncio.TaskGroup() as group:
        for _ in range(CONCURRENCY):
            group.create_task(load.run())
        try:
            for _ in range(3):
                await until(lambda: load.answers.total() >= WARM_UP_RESPONSES, deadline_s=30)
                drained.kill(service)
                await asyncio.to_thread(drained.run, "start", service)
        finally:
            load.is_over = True
    assert not {401, 403} & load.answers.keys(), load.answers
