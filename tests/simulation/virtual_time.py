"""A virtual clock, an event loop that runs on it, and simulated processes that can be killed or frozen.

Install the clock before anything of `services` is imported: modules bind `time.monotonic` and others by name.
"""

import asyncio
import contextvars
import heapq
import os
import random
import sys
import time
from asyncio import events
from collections import deque
from collections.abc import Callable
from typing import Any

# Five seconds before midnight in Berlin, where the simulated customer closes its days.
START_S = 1_790_027_995.0
# Every turn of the loop takes time, so that a task that waits in a busy loop ends.
TURN_S = 2e-6
MAX_HANDLES_PER_TURN = 4


class Process:
    """A simulated process: its callbacks run in order, between those of the others, until it is killed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.queue: deque[events.Handle] = deque()
        self.is_alive = True
        self.is_runnable = False
        self.frozen_until = 0.0
        # Its wall clock minus the true time.
        self.clock_offset_s = 0.0
        # The number of further callbacks after which it is killed; None lets it live.
        self.dies_after: int | None = None
        self.on_death: Callable[[], None] = lambda: None

    def kill(self) -> None:
        """End at once, as by SIGKILL: nothing of this process runs any more."""
        if self.is_alive:
            self.is_alive = False
            self.dies_after = None
            self.on_death()


CURRENT: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


class StuckError(RuntimeError):
    """No callback and no timer is left, or the story takes too many turns."""


class SimulationLoop(asyncio.BaseEventLoop):
    """An event loop whose time jumps to the next timer. Within a process callbacks keep their order, as in asyncio."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        # Attributes of the base class that typeshed does not know.
        self._scheduled: list[Any] = []
        self._timer_cancelled_count = 0
        self.now = 0.0
        self.turns = 0
        self.max_turns = 10_000_000
        self._rng = rng
        # Tasks of killed processes stay pending for ever.
        self.set_exception_handler(lambda _loop, _context: None)
        self._outside = Process("outside")
        self._runnable: list[Process] = []
        # What killed processes leave behind must not be collected while the simulation runs: it would run `finally`.
        self.remains: list[Any] = []

    def time(self) -> float:
        """Return the virtual time since the start."""
        return self.now

    def _call_soon(self, callback: Any, args: Any, context: contextvars.Context | None) -> events.Handle:
        handle = events.Handle(callback, args, self, context)
        self._enqueue(handle)
        return handle

    def call_soon_threadsafe(  # type: ignore[override] # looser
        self, callback: Any, *args: Any, context: Any = None
    ) -> events.Handle:
        return self._call_soon(callback, args, context)

    def run_in_executor(self, _executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override] # looser
        """Run the function at once: there are no threads in a simulation."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - the caller gets it
            future.set_exception(error)
        return future

    def create_task(  # type: ignore[override] # looser
        self, coro: Any, *, name: str | None = None, context: contextvars.Context | None = None
    ) -> "asyncio.Task[Any]":
        """Create a task of the current process, also where the services start one in an empty context."""
        process = CURRENT.get()
        if context is not None and process is not None and CURRENT not in context:
            context.run(CURRENT.set, process)
        return super().create_task(coro, name=name, context=context)

    def _enqueue(self, handle: events.Handle) -> None:
        process = handle._context.get(CURRENT) or self._outside  # type: ignore[attr-defined]
        if not process.is_alive:
            self.remains.append(handle)
            return
        if not process.is_runnable:
            process.is_runnable = True
            self._runnable.append(process)
        process.queue.append(handle)

    def _run_once(self) -> None:
        self.turns += 1
        if self.turns > self.max_turns:
            raise StuckError(f"{self.turns} turns")
        self._start_due_timers()
        process = self._next_process()
        if process is None:
            return
        index = self._runnable.index(process)
        for _ in range(self._rng.randint(1, MAX_HANDLES_PER_TURN)):
            if not process.queue or not self._may_run(process):
                break
            handle = process.queue.popleft()
            if not handle._cancelled:
                handle._run()
        if not process.is_alive:
            self.remains += process.queue
            process.queue.clear()
        if not process.queue:
            self._runnable.pop(index)
            process.is_runnable = False
        self.now += TURN_S

    @staticmethod
    def _may_run(process: Process) -> bool:
        if process.dies_after is not None:
            process.dies_after -= 1
            if process.dies_after < 0:
                process.kill()
        return process.is_alive

    def _next_process(self) -> Process | None:
        candidates = [one for one in self._runnable if one.frozen_until <= self.now]
        if candidates:
            return candidates[0] if len(candidates) == 1 else self._rng.choice(candidates)
        ends = [one.frozen_until for one in self._runnable]
        if self._scheduled:
            ends.append(self._scheduled[0]._when)
        if not ends:
            raise StuckError("nothing is left to do")
        self.now = max(self.now, min(ends))
        return None

    def _start_due_timers(self) -> None:
        timers = self._scheduled
        while timers and (timers[0]._cancelled or timers[0]._when <= self.now):
            handle = heapq.heappop(timers)
            handle._scheduled = False
            if handle._cancelled:
                self._timer_cancelled_count -= 1
            else:
                self._enqueue(handle)

    def _timer_handle_cancelled(self, handle: events.TimerHandle) -> None:
        del handle
        self._timer_cancelled_count += 1
        # As the base class does: without it, cancelled timers would fill the heap.
        if self._timer_cancelled_count > 200 and self._timer_cancelled_count > len(self._scheduled) // 2:
            for timer in self._scheduled:
                if timer._cancelled:
                    timer._scheduled = False
            self._scheduled = [timer for timer in self._scheduled if not timer._cancelled]
            heapq.heapify(self._scheduled)
            self._timer_cancelled_count = 0

    def _process_events(self, event_list: Any) -> None:
        """Do nothing: there are no sockets."""

    def _write_to_self(self) -> None:
        """Do nothing: there is no selector to wake."""


class _Clock:
    """The time that patched functions of the standard library return."""

    loop: SimulationLoop | None = None


def true_time_s() -> float:
    """The time without any process's clock error."""
    return START_S + (_Clock.loop.now if _Clock.loop else 0.0)


def _monotonic() -> float:
    return 1_000.0 + (_Clock.loop.now if _Clock.loop else 0.0)


def _time() -> float:
    process = CURRENT.get()
    return true_time_s() + (process.clock_offset_s if process else 0.0)


REAL_MONOTONIC = time.monotonic
_REAL_URANDOM = os.urandom


def install_clock() -> None:
    """Replace the clocks of the standard library, for this process and for good."""
    if any(name.startswith("services.") for name in sys.modules):
        raise RuntimeError("install the virtual clock before importing services")
    time.monotonic = time.perf_counter = _monotonic
    time.time = _time
    time.time_ns = lambda: int(_time() * 1_000_000_000)
    time.monotonic_ns = lambda: int(_monotonic() * 1_000_000_000)


def bind(loop: SimulationLoop, rng: random.Random) -> None:
    """Let the clocks show this loop's time, and the system's random numbers come from `rng`."""
    # Here, because services must not be imported before the clock is replaced.
    from services.chassis.runtime import random_bytes  # noqa: PLC0415

    _Clock.loop = loop
    os.urandom = rng.randbytes
    # Left over from the run before.
    random_bytes._pool.clear()
    random._urandom = rng.randbytes  # type: ignore[attr-defined] # `secrets` reads it
