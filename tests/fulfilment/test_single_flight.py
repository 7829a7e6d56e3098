"""One fulfilment at a time per transaction, and a bounded number in total."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from services.chassis.runtime.errors import UnavailableError
from services.fulfilment.flows.single_flight import SingleFlight


class ControlledWork:
    """Fulfilments that end when the test permits."""

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
def work() -> ControlledWork:
    return ControlledWork()


async def start_all(*awaited: Coroutine[Any, Any, object]) -> list[asyncio.Task[object]]:
    """Start all of them, and let them run until they wait."""
    begun = [asyncio.create_task(coroutine) for coroutine in awaited]
    for _ in range(5):
        await asyncio.sleep(0)
    return begun


async def test_callers_while_it_runs_wait_for_the_same_run(work: ControlledWork) -> None:
    single_flight = SingleFlight(work, max_concurrency=8)
    calls = await start_all(*(single_flight.run("a") for _ in range(50)), single_flight.run("b"))
    assert work.begun == ["a", "b"]
    work.may_end.set()
    await asyncio.gather(*calls)
    await single_flight.run("a")
    assert work.begun == ["a", "b", "a"]


async def test_no_more_run_at_once_than_may(work: ControlledWork) -> None:
    single_flight = SingleFlight(work, max_concurrency=2)
    calls = await start_all(*(single_flight.run(name) for name in "abcd"))
    assert work.begun == ["a", "b"]
    work.may_end.set()
    await asyncio.gather(*calls)
    assert sorted(work.ended) == ["a", "b", "c", "d"]


async def test_giving_up_waiting_stops_nothing(work: ControlledWork) -> None:
    single_flight = SingleFlight(work, max_concurrency=2)
    impatient, patient = await start_all(single_flight.run("a"), single_flight.run("a"))
    impatient.cancel()
    work.may_end.set()
    await patient
    assert (impatient.cancelled(), work.ended) == (True, ["a"])


async def test_a_failure_reaches_everybody_who_waits_and_the_next_one_tries_again(work: ControlledWork) -> None:
    single_flight = SingleFlight(work, max_concurrency=2)
    work.fails = UnavailableError("MongoDB")
    calls = await start_all(single_flight.run("a"), single_flight.run("a"))
    work.may_end.set()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert outcomes == [work.fails] * 2
    work.fails = None
    await single_flight.run("a")
    assert work.ended == ["a"]


async def test_stopping_lets_what_runs_come_to_its_end(work: ControlledWork) -> None:
    single_flight = SingleFlight(work, max_concurrency=2)
    (calls,) = await start_all(single_flight.run("a"))
    (stopping,) = await start_all(single_flight.stop())
    assert not stopping.done()
    work.may_end.set()
    await stopping
    await calls
    assert work.ended == ["a"]
