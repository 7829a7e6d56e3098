"""Work beside the requests: periodic tasks, startup steps, and how a task is cancelled."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any

from services.chassis.runtime.errors import ChangedSettingError, UnavailableError
from services.chassis.runtime.logs import logger

RETRY_S = 1.0
STARTUP_RETRY_S = 0.3
RETRY_AFTER_DEFECT_S = 10.0
STALL_TIMEOUT_S = 120.0
CANCEL_RETRY_S = 0.5
_LOG = logger(__name__)


class BackgroundTask:
    """Runs `step` over and over, from `start()` to `stop()`.

    `step` returns the pause before its next run in seconds, or None when it is done; `wake()` ends a pause early.
    After `UnavailableError` it runs again in `retry_s`, and the outage is logged once. Any other exception is logged
    as a defect, and the step runs again in `retry_after_defect_s`.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], Awaitable[float | None]],
        *,
        retry_s: float = RETRY_S,
        retry_after_defect_s: float = RETRY_AFTER_DEFECT_S,
        stall_timeout_s: float = STALL_TIMEOUT_S,
        clock_s: Callable[[], float] = monotonic,
    ) -> None:
        self._name = name
        self._step = step
        self._retry_s = retry_s
        self._retry_after_defect_s = retry_after_defect_s
        self._stall_timeout_s = stall_timeout_s
        self._clock_s = clock_s
        self._task: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()
        self._unavailable: str | None = None
        self._last_run_at = clock_s()

    @property
    def alive(self) -> bool:
        """False once a step hangs."""
        return self._clock_s() - self._last_run_at < self._stall_timeout_s

    async def start(self) -> None:
        """Start the loop and return."""
        self._task = asyncio.create_task(self._run(), name=self._name)

    async def stop(self) -> None:
        """Cancel the step in progress: each step must be safe to repeat."""
        if self._task is not None:
            await cancel_and_wait(self._task)

    def wake(self) -> None:
        """Run the step again without waiting for the end of the pause."""
        self._woken.set()

    async def run_once(self) -> float | None:
        """Run the step now; return the pause before the next run, or None if the task is done."""
        self._last_run_at = self._clock_s()
        try:
            pause_s = await self._step()
        except UnavailableError as error:
            if error.dependency != self._unavailable:
                _LOG.warning("waiting for a dependency", task=self._name, dependency=error.dependency)
            self._unavailable = error.dependency
            return self._retry_s
        except Exception:  # noqa: BLE001 - one failed run must not end the task
            _LOG.exception("background task failed", task=self._name)
            pause_s = self._retry_after_defect_s
        self._unavailable = None
        return pause_s

    async def _run(self) -> None:
        # Cleared before each run: a call of `wake` during the run is not lost.
        while (pause_s := await self.run_once()) is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._woken.wait()
            self._woken.clear()


class PeriodicTask(BackgroundTask):
    """Runs `step` again `interval_s` after it succeeded; not before `start_when` returns True."""

    def __init__(
        self,
        name: str,
        step: Callable[[], Awaitable[object]],
        *,
        interval_s: float,
        start_when: Callable[[], bool] = lambda: True,
        clock_s: Callable[[], float] = monotonic,
    ) -> None:
        retry_s = min(interval_s, RETRY_S)

        async def run() -> float:
            if not start_when():
                return retry_s
            await step()
            return interval_s

        super().__init__(name, run, retry_s=retry_s, stall_timeout_s=STALL_TIMEOUT_S + interval_s, clock_s=clock_s)


class StartupTask(BackgroundTask):
    """Runs the steps once, in order; `is_done` is True once all have succeeded in one go.

    A step that raises `ChangedSettingError` is not repeated: it becomes the `failure`, with which the process ends.
    """

    def __init__(self, steps: Sequence[Callable[[], Awaitable[None]]], *, retry_s: float = STARTUP_RETRY_S) -> None:
        super().__init__("startup", self._run_steps, retry_s=retry_s, retry_after_defect_s=retry_s)
        self._steps = steps
        self.is_done = False
        self.failure: ChangedSettingError | None = None

    async def _run_steps(self) -> None:
        try:
            for step in self._steps:
                await step()
        except ChangedSettingError as error:
            self.failure = error
        else:
            self.is_done = True


async def cancel_and_wait(task: "asyncio.Task[None]") -> None:
    """Cancel the task until it has ended; raise what it ended with, unless it was cancelled.

    One cancellation may not suffice: `asyncio.wait_for` of Python 3.11 swallows a cancellation that coincides with
    the result, and PyMongo sends everything through it.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=CANCEL_RETRY_S)
    if not task.cancelled():
        task.result()


def retrieve_exception(future: "asyncio.Future[Any]") -> None:
    """Mark the future's exception as handled: its callers may have been cancelled, or have given up and reported that.

    Otherwise asyncio logs it like a defect.
    """
    if not future.cancelled():
        future.exception()
