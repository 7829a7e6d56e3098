"""One fulfilment at a time for each transaction, a bounded number in all."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from services.chassis.runtime.errors import UnavailableError
from services.fulfilment.flows.single_flight import SingleFlight


class Work:
    """Fulfilments that end when they are let."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.may_end = asyncio.Event()
        self.fails: Exception | None = None

    async def __call__(self, transaction_id: str) -> None:
        self.begun.append(transaction_id)
        await self.may_end.wait()
        if self.fails:
            raise self.fails
        self.ended.append(transaction_id)


@pytest.fixture
def work() -> Work:
    return Work()


async def soon(*awaited: Coroutine[Any, Any, object]) -> list[asyncio.Task[object]]:
    """Begin all of them, and let them get as far as they can."""
    begun = [asyncio.create_task(one) for one in awaited]
    for _ in range(5):
        await asyncio.sleep(0)
    return begun


async def test_whoever_asks_while_it_runs_waits_for_the_same_run(work: Work) -> None:
    runner = SingleFlight(work, max_concurrency=8)
    asked = await soon(*(runner.run("a") for _ in range(50)), runner.run("b"))
    assert work.begun == ["a", "b"]
    work.may_end.set()
    await asyncio.gather(*asked)
    await runner.run("a")
    assert work.begun == ["a", "b", "a"]


async def test_no_more_run_at_once_than_may(work: Work) -> None:
    runner = SingleFlight(work, max_concurrency=2)
    asked = await soon(*(runner.run(name) for name in "abcd"))
    assert work.begun == ["a", "b"]
    work.may_end.set()
    await asyncio.gather(*asked)
    assert sorted(work.ended) == ["a", "b", "c", "d"]


async def test_giving_up_waiting_stops_nothing(work: Work) -> None:
    runner = SingleFlight(work, max_concurrency=2)
    impatient, patient = await soon(runner.run("a"), runner.run("a"))
    impatient.cancel()
    work.may_end.set()
    await patient
    assert (impatient.cancelled(), work.ended) == (True, ["a"])


async def test_a_failure_reaches_everybody_who_waits_and_the_next_one_tries_again(work: Work) -> None:
    runner = SingleFlight(work, max_concurrency=2)
    work.fails = UnavailableError("MongoDB")
    asked = await soon(runner.run("a"), runner.run("a"))
    work.may_end.set()
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert outcomes == [work.fails] * 2
    work.fails = None
    await runner.run("a")
    assert work.ended == ["a"]


async def test_stopping_lets_what_runs_come_to_its_end(work: Work) -> None:
    runner = SingleFlight(work, max_concurrency=2)
    (asked,) = await soon(runner.run("a"))
    (stopping,) = await soon(runner.stop())
    assert not stopping.done()
    work.may_end.set()
    await stopping
    await asked
    assert work.ended == ["a"]
