"""The memory of request bodies in flight is bounded, for each client and for all."""

import asyncio
import gc
import gzip
import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from aiohttp import web

from services.ingest.domain.body_budget import INFLATED_WEIGHT, REQUEST_BYTES, BodyBudget, BudgetExceededError
from services.ingest.http.imports import ImportApi
from tests.chassis.eventually import until
from tests.ingest.client import BASE, ApiClient, import_api, request_head
from tests.ingest.fakes import order

MIB = 1024 * 1024
GOOD = json.dumps([order()]).encode()
FULL = GOOD + b" " * (102_400 - len(GOOD))


def test_a_client_has_its_share_and_all_have_the_whole() -> None:
    budget = BodyBudget(max_bytes=10 * REQUEST_BYTES, max_bytes_per_client=4 * REQUEST_BYTES)
    with ExitStack() as opened:
        shares = [opened.enter_context(budget.open(client)) for client in ("a", "a", "b", "c")]
        shares[0].set(2 * REQUEST_BYTES)
        with pytest.raises(BudgetExceededError) as own:
            shares[1].set(1)
        assert own.value.is_clients
        shares[2].set(3 * REQUEST_BYTES)
        shares[3].set(REQUEST_BYTES)
        with pytest.raises(BudgetExceededError) as whole, budget.open("d"):
            raise AssertionError("there is no room for it")
        assert not whole.value.is_clients
        shares[0].set(0)
        shares[1].set(1)
    assert budget.bytes_in_flight == 0
    with budget.open("a") as share:
        share.set(3 * REQUEST_BYTES)


async def hold_slow_bodies(client: ApiClient, count: int, tokens: tuple[str, ...]) -> list[asyncio.Task[bytes]]:
    """Send all but a byte of bodies, and wait until the server has them all or has refused them."""
    tasks = []
    for number in range(count):
        token, key = (tokens[number % len(tokens)],) * 2
        path = BASE.replace("12345", "67890") if key == "other" else BASE
        head = request_head("POST", path + "/orders", f"Content-Length: {len(FULL)}")
        tasks.append(
            asyncio.create_task(client.send_raw(head.replace(b"Bearer good", f"Bearer {token}".encode()) + FULL[:-1]))
        )
    return tasks


async def wait_until_refused(tasks: list[asyncio.Task[bytes]]) -> bytes:
    async with asyncio.timeout(10):
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    return done.pop().result()


async def test_slow_bodies_of_a_client_have_a_bound_and_others_pass() -> None:
    async with import_api(max_bytes_in_flight=8 * MIB, max_bytes_in_flight_per_client=2 * MIB) as client:
        tasks = await hold_slow_bodies(client, 30, ("good",))
        refused = await wait_until_refused(tasks)
        assert b" 429 " in refused
        assert b"RATE_LIMITED" in refused
        assert b"retry-after: 1" in refused.lower()
        assert b"connection: close" in refused.lower()
        other = await client.call("POST", BASE.replace("12345", "67890") + "/orders", data=GOOD, token="other")
        assert other.status == 202
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with asyncio.timeout(10):
            while (await client.send([order()])).status != 202:
                pass


async def test_slow_bodies_of_all_clients_have_a_bound() -> None:
    async with import_api(max_bytes_in_flight=2 * MIB, max_bytes_in_flight_per_client=2 * MIB - 1) as client:
        tasks = await hold_slow_bodies(client, 30, ("good", "other"))
        refused = await wait_until_refused(tasks)
        assert b" 503 " in refused
        assert b"UNAVAILABLE" in refused
        assert b"retry-after: 1" in refused.lower()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def zipped(size: int) -> bytes:
    return gzip.compress(GOOD + b" " * (size - len(GOOD)))


async def test_an_inflated_body_counts_more_than_a_received_one() -> None:
    room = REQUEST_BYTES + INFLATED_WEIGHT * MIB
    async with import_api(max_bytes_in_flight=room, max_bytes_in_flight_per_client=room) as client:
        assert (await client.send(zipped(MIB))).status == 202
        refused = await client.send(zipped(MIB + 1))
        assert (refused.status, refused.code) == (429, "RATE_LIMITED")
        assert (await client.send(zipped(MIB))).status == 202, "nothing is kept of the refused one"


async def test_a_body_that_lies_about_its_size_is_charged_its_real_one() -> None:
    async with import_api(max_bytes_in_flight=MIB, max_bytes_in_flight_per_client=MIB) as client:
        liar = zipped(MIB)[:-4] + (1000).to_bytes(4, "little")
        refused = await client.send(liar)
        assert (refused.status, refused.code) in ((400, "INVALID_GZIP"), (429, "RATE_LIMITED"))


async def test_inflated_bodies_in_flight_at_once_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eighty small bodies that inflate to 4 MiB: the charged bytes never exceed the bound."""
    budgets: list[BodyBudget] = []
    sizes: list[int] = []
    init, resize = ImportApi.__init__, BodyBudget.resize

    def remember(self: ImportApi, **arguments: Any) -> None:
        init(self, **arguments)
        budgets.append(self._budget)

    def observe(self: BodyBudget, share: Any, size: int) -> None:
        resize(self, share, size)
        sizes.append(self.bytes_in_flight)

    monkeypatch.setattr(ImportApi, "__init__", remember)
    monkeypatch.setattr(BodyBudget, "resize", observe)
    bomb = zipped(4 * MIB)
    async with import_api(records_per_second=10_000) as client:
        answers = await asyncio.gather(*(client.send(bomb) for _ in range(80)))
        assert {answer.status for answer in answers} <= {202, 429}
        assert sum(answer.status == 202 for answer in answers) >= 2
    assert max(sizes) <= 48 * MIB
    assert budgets[0].bytes_in_flight == 0


@pytest.fixture
def no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def requests_in_memory() -> int:
    return sum(type(each) is web.Request for each in gc.get_objects())


@pytest.mark.usefixtures("no_collection")
async def test_refused_and_unfinished_bodies_are_freed_at_once() -> None:
    """I8. An exception that refers to its own frame kept the request until the next collection, which is rare."""
    async with import_api(max_bytes_in_flight=8 * MIB, max_bytes_in_flight_per_client=2 * MIB) as client:
        before = requests_in_memory()
        tasks = await hold_slow_bodies(client, 60, ("good",))
        assert b" 429 " in await wait_until_refused(tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _ in range(10):
            assert (await client.send(b"[}")).status == 400
        await until(lambda: requests_in_memory() <= before + 2)
