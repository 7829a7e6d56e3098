"""Batching what concurrent tasks ask of a store."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextvars import ContextVar
from typing import Any

import pytest
from structlog.contextvars import bound_contextvars, get_contextvars

from services.chassis.runtime.errors import UnavailableError
from services.fulfilment.adapters.batcher import MAX_SIZE, Batcher
from tests.chassis.eventually import until
from tests.support.garbage import collected_types


class FakeWork:
    """Answers each item with itself doubled, when the gate is open; `fails` raises for a batch."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        self.fails: Callable[[Sequence[int]], None] = lambda _items: None

    async def __call__(self, items: Sequence[int]) -> Sequence[int]:
        self.batches.append(list(items))
        await self.gate.wait()
        self.fails(items)
        return [item * 2 for item in items]


@pytest.fixture
def work() -> FakeWork:
    return FakeWork()


def start_all(*awaited: Coroutine[Any, Any, int]) -> list["asyncio.Task[int]"]:
    return [asyncio.create_task(coroutine) for coroutine in awaited]


async def test_a_lone_item_goes_at_once(work: FakeWork) -> None:
    work.gate.set()
    assert await Batcher(work).submit(1) == 2
    assert work.batches == [[1]]


async def test_items_of_one_moment_share_a_batch_and_each_gets_its_own_result(work: FakeWork) -> None:
    work.gate.set()
    batcher = Batcher(work)
    assert await asyncio.gather(*map(batcher.submit, [3, 1, 3])) == [6, 2, 6]
    assert work.batches == [[3, 1, 3]]


async def test_items_collect_while_a_batch_is_in_flight(work: FakeWork) -> None:
    batcher = Batcher(work)
    first = start_all(batcher.submit(0))
    await until(lambda: work.batches == [[0]])
    others = start_all(*(batcher.submit(number) for number in range(1, MAX_SIZE + 101)))
    work.gate.set()
    await asyncio.gather(*first, *others)
    assert [len(batch) for batch in work.batches] == [1, MAX_SIZE, 100], "batches are bounded"


async def test_large_items_fill_a_batch_sooner(work: FakeWork) -> None:
    work.gate.set()
    batcher = Batcher(work, size=lambda item: item)
    await asyncio.gather(*map(batcher.submit, [400, 500, 200, MAX_SIZE + 1, 1]))
    assert work.batches == [[400, 500], [200], [MAX_SIZE + 1], [1]]


async def test_keys_do_not_wait_for_each_other(work: FakeWork) -> None:
    batcher = Batcher(work, key=lambda item: item % 2)
    calls = start_all(*map(batcher.submit, [1, 2, 3, 4]))
    await until(lambda: work.batches == [[1, 3], [2, 4]])
    work.gate.set()
    assert await asyncio.gather(*calls) == [2, 4, 6, 8]
    assert batcher._queues == {}, "nothing is kept of a key without items"


async def test_an_outage_reaches_all_callers_of_the_batch_each_with_an_error_of_its_own(work: FakeWork) -> None:
    def fail(_items: Sequence[int]) -> None:
        raise UnavailableError("MongoDB", retry_after_s=7)

    work.fails = fail
    work.gate.set()
    batcher = Batcher(work)
    errors = await asyncio.gather(*map(batcher.submit, [1, 2]), return_exceptions=True)
    assert [(error.dependency, error.retry_after_s) for error in errors if isinstance(error, UnavailableError)] == [
        ("MongoDB", 7)
    ] * 2
    assert errors[0] is not errors[1]
    assert work.batches == [[1, 2]], "whether it was done is unknown: nothing is repeated here"
    work.fails = lambda _items: None
    assert await batcher.submit(1) == 2


async def test_a_defect_in_one_item_does_not_fail_the_others(work: FakeWork) -> None:
    def fail(items: Sequence[int]) -> None:
        if 2 in items:
            raise ZeroDivisionError

    work.fails = fail
    work.gate.set()
    outcomes = await asyncio.gather(*map(Batcher(work).submit, [1, 2, 3]), return_exceptions=True)
    assert outcomes[::2] == [2, 6]
    assert isinstance(outcomes[1], ZeroDivisionError)


async def test_a_cancelled_caller_does_not_cancel_the_others(work: FakeWork) -> None:
    batcher = Batcher(work)
    first, second = start_all(batcher.submit(1), batcher.submit(2))
    await until(lambda: work.batches == [[1, 2]])
    third, fourth = start_all(batcher.submit(3), batcher.submit(4))
    await asyncio.sleep(0)
    first.cancel()
    third.cancel()
    work.gate.set()
    assert list(await asyncio.gather(second, fourth)) == [4, 8]
    assert work.batches == [[1, 2], [4]], "a batch that had not begun is without the item"


async def test_a_cancelled_batch_leaves_no_caller_waiting(work: FakeWork) -> None:
    """Breaks: the event loop ends all its tasks while a batch is in flight."""
    batcher = Batcher(work)
    calls = start_all(batcher.submit(1))
    await until(lambda: work.batches == [[1]])
    calls += start_all(batcher.submit(2))
    await asyncio.sleep(0)
    (task,) = batcher._tasks
    task.cancel()
    async with asyncio.timeout(5):
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError] * 2


async def test_a_batch_does_not_log_in_the_name_of_one_of_its_callers() -> None:
    found: list[object] = []

    async def work(items: Sequence[int]) -> Sequence[int]:
        found.append(get_contextvars().get("transactionId"))
        return items

    batcher = Batcher(work)
    with bound_contextvars(transactionId="first"):
        await batcher.submit(1)
    assert found == [None]


async def test_keys_do_not_share_context_variables() -> None:
    """Breaks: PyMongo keeps its deadline in a context variable; the batches of one key get that of another."""
    deadline: ContextVar[int | None] = ContextVar("deadline", default=None)
    found: list[tuple[int, int | None, int | None]] = []
    gate = asyncio.Event()

    async def work(items: Sequence[int]) -> Sequence[int]:
        before = deadline.get()
        token = deadline.set(items[0])
        if items == [1]:
            await gate.wait()
        else:
            gate.set()
        found.append((items[0], before, deadline.get()))
        deadline.reset(token)
        return items

    batcher = Batcher(work, key=lambda item: item)
    async with asyncio.timeout(5):
        await asyncio.gather(*map(batcher.submit, [1, 2]))
    assert sorted(found) == [(1, None, 1), (2, None, 2)]


async def test_a_batch_that_fails_is_freed_with_its_last_caller(work: FakeWork) -> None:
    """Breaks: while MongoDB is unavailable, each order stays in memory until the next collection of garbage."""

    def fail(_items: Sequence[int]) -> None:
        raise UnavailableError("MongoDB")

    work.fails = fail
    work.gate.set()
    batcher = Batcher(work)
    with collected_types() as found:
        outcomes = await asyncio.gather(*map(batcher.submit, [1, 2, 3]), return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {UnavailableError}
        del outcomes
        await asyncio.sleep(0)
    assert not found
