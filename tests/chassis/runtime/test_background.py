"""Background tasks retry, wake up, and stop even if a cancellation was lost."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import pytest
from structlog.testing import capture_logs

from services.chassis.runtime.background import (
    RETRY_AFTER_DEFECT_S,
    RETRY_S,
    STALL_TIMEOUT_S,
    BackgroundTask,
    PeriodicTask,
    StartupTask,
    cancel_and_wait,
)
from services.chassis.runtime.errors import ChangedSettingError, UnavailableError


class Steps:
    """A step with given outcomes; counts its runs."""

    def __init__(self, *outcomes: Exception | None) -> None:
        self.outcomes = list(outcomes)
        self.runs = 0

    async def __call__(self) -> None:
        self.runs += 1
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if outcome is not None:
            raise outcome


async def test_a_task_tries_again_soon_and_logs_an_outage_once() -> None:
    step = Steps(
        UnavailableError("MongoDB"),
        UnavailableError("MongoDB"),
        None,
        UnavailableError("MongoDB"),
        ValueError("defect"),
        UnavailableError("MongoDB"),
    )
    task = PeriodicTask("keys", step, interval_s=30)
    with capture_logs() as lines:
        pauses = [await task.run_once() for _ in range(6)]
    assert pauses == [RETRY_S, RETRY_S, 30, RETRY_S, RETRY_AFTER_DEFECT_S, RETRY_S]
    waiting = "waiting for a dependency"
    assert [line["event"] for line in lines] == [waiting, waiting, "background task failed", waiting]
    assert {line["task"] for line in lines} == {"keys"}


async def test_what_is_done_often_is_tried_again_as_often() -> None:
    task = PeriodicTask("sweep", Steps(UnavailableError("MongoDB")), interval_s=0.05)
    assert await task.run_once() == 0.05


async def test_nothing_is_done_before_it_may_begin() -> None:
    step, allowed = Steps(), [False, True]
    task = PeriodicTask("sweep", step, interval_s=30, start_when=lambda: allowed.pop(0))
    assert [await task.run_once(), step.runs] == [RETRY_S, 0]
    assert [await task.run_once(), step.runs] == [30, 1]


async def test_a_task_goes_on_after_a_defect_and_is_reported_dead_only_once_it_hangs() -> None:
    time_s = 0.0
    task = PeriodicTask("close", Steps(ValueError("defect")), interval_s=30, clock_s=lambda: time_s)

    def alive_at(instant_s: float) -> bool:
        nonlocal time_s
        time_s = instant_s
        return task.alive

    limit_s = STALL_TIMEOUT_S + 30
    assert [alive_at(limit_s - 1), alive_at(limit_s)] == [True, False]
    with capture_logs():
        await task.run_once()
    assert alive_at(2 * limit_s - 1)


async def test_a_task_begins_at_once_and_stops_when_told() -> None:
    done = asyncio.Event()

    async def step() -> None:
        done.set()

    task = PeriodicTask("signal", step, interval_s=3_600)
    await task.start()
    async with asyncio.timeout(5):
        await done.wait()
    await task.stop()
    assert task._task is not None
    assert task._task.cancelled()


async def test_a_pause_ends_when_the_task_is_woken_and_a_call_during_the_step_is_not_lost() -> None:
    runs = 0

    async def step() -> float | None:
        nonlocal runs
        runs += 1
        if runs == 2:
            task.wake()
        return None if runs == 3 else 3_600.0

    task = BackgroundTask("relay", step)
    await task.start()
    assert task._task is not None
    await asyncio.sleep(0)
    assert runs == 1
    task.wake()
    async with asyncio.timeout(5):
        await task._task
    assert runs == 3


async def test_startup_steps_run_in_order_until_all_have_succeeded_once() -> None:
    """An outage and a defect delay it; neither ends it."""
    journal: list[str] = []
    troubles: list[Exception | None] = [UnavailableError("MongoDB"), ValueError("defect"), None]

    async def first() -> None:
        journal.append("first")

    async def second() -> None:
        journal.append("second")
        trouble = troubles.pop(0)
        if trouble is not None:
            raise trouble

    startup = StartupTask([first, second], retry_s=0)
    with capture_logs() as lines:
        await startup.start()
        assert startup._task is not None
        async with asyncio.timeout(5):
            await startup._task
    assert startup.is_done
    assert journal == ["first", "second"] * 3
    assert [line["event"] for line in lines] == ["waiting for a dependency", "background task failed"]
    await startup.stop()


async def test_startup_gives_up_when_told() -> None:
    began = asyncio.Event()

    async def hang() -> None:
        began.set()
        await asyncio.Event().wait()

    startup = StartupTask([hang])
    await startup.start()
    await began.wait()
    await startup.stop()
    assert not startup.is_done
    assert startup._task is not None
    assert startup._task.done()


async def test_a_startup_task_that_finds_a_changed_setting_ends_without_another_try() -> None:
    runs = 0

    async def find_changed_setting() -> None:
        nonlocal runs
        runs += 1
        raise ChangedSettingError("A_KEY")

    startup = StartupTask([find_changed_setting], retry_s=0)
    await startup.start()
    assert startup._task is not None
    async with asyncio.timeout(5):
        await startup._task
    await startup.stop()
    assert isinstance(startup.failure, ChangedSettingError)
    assert (runs, startup.is_done) == (1, False)


class LosesFirstCancellation:
    """Swallows the first cancellation, as `asyncio.wait_for` of Python 3.11 may."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()

    async def __call__(self) -> None:
        if self.begun.is_set():
            await asyncio.sleep(3_600)  # until it is cancelled
        self.begun.set()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3_600)  # until it is cancelled


TASKS: dict[str, Callable[[LosesFirstCancellation], BackgroundTask]] = {
    "background": lambda step: BackgroundTask("relay", step),
    "startup": lambda step: StartupTask([step, step]),
    "periodic": lambda step: PeriodicTask("sweep", step, interval_s=60.0),
}


@pytest.mark.parametrize("kind", TASKS)
async def test_a_task_stops_even_if_its_driver_swallows_that_it_is_cancelled(kind: str) -> None:
    step = LosesFirstCancellation()
    task = TASKS[kind](step)
    await task.start()
    await step.begun.wait()
    stopping = asyncio.create_task(task.stop())
    done, _ = await asyncio.wait([stopping], timeout=10)
    assert done == {stopping}
    await stopping


async def test_a_task_that_has_ended_is_left_alone_and_its_failure_is_raised() -> None:
    async def succeed() -> None:
        """Nothing is left to do."""

    async def fail() -> None:
        raise ValueError("a defect")

    ended, failed = asyncio.create_task(succeed()), asyncio.create_task(fail())
    await asyncio.wait([ended, failed])
    await cancel_and_wait(ended)
    with pytest.raises(ValueError, match="a defect"):
        await cancel_and_wait(failed)
