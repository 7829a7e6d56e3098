"""A process's lifecycle: components start in order, run until a signal, stop in reverse order."""

import asyncio
import gc
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import uvloop

from services.chassis.runtime import metrics
from services.chassis.runtime.background import StartupTask
from services.chassis.runtime.errors import ChangedSettingError
from services.chassis.runtime.health import Health
from services.chassis.runtime.logs import configure, logger
from services.chassis.runtime.malloc import MemoryTrimmer, tune_malloc
from services.chassis.runtime.settings import ServiceSettings, exit_with_errors, redacted
from services.chassis.runtime.signals import HANDLED, ignore_signals

LOOP_DELAY = metrics.histogram(
    "event_loop_delay_seconds",
    "Delay of the event loop's timers.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
BUILD = metrics.gauge("build_info", "Always 1; the labels name the running build.", ["service", "version", "python"])

VERSION = "0.1.0"
# Allocations before generation 0 is collected; collections of it before generation 1 is, and of that before 2 is.
_GC_THRESHOLDS = (50_000, 20, 50)
MIN_DRAIN_S = 0.3
# How long a thread that waits for the interpreter's lock leaves it to another one; five milliseconds by default.
SWITCH_INTERVAL_S = 0.0005
_LOG = logger(__name__)


class Component(Protocol):
    """A part of the process with a lifecycle: a server, a consumer, a client."""

    async def start(self) -> None:
        """Start; must not wait for other processes."""

    async def stop(self) -> None:
        """Finish work in progress and release all resources."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A built process: its components in the order in which they start."""

    name: str
    health: Health
    components: Sequence[Component]
    heartbeat_s: float = field(default=0.25)


def run(name: str, settings: ServiceSettings, compose: Callable[[], Awaitable[Service]]) -> None:
    """Run until SIGTERM or SIGINT. `compose` builds the service inside the event loop.

    The process ends with status 2 if a `StartupTask` finds a changed setting, with status 1 after any other failure.
    """
    tune_malloc()
    tune_threads()
    configure(name, settings.log_level)
    _LOG.info("starting", settings=redacted(settings), version=VERSION)
    BUILD.labels(name, VERSION, sys.version.split()[0]).set(1)
    try:
        uvloop.run(_main(settings, compose))
    finally:
        # The event loop has restored the default handlers: a second SIGTERM would change the exit status.
        ignore_signals()


def tune_gc() -> None:
    """Exempt existing objects from garbage collection, and collect less often.

    Thousands of records per second are allocated and none is part of a reference cycle: with Python's default
    thresholds, searching for cycles takes a sixth of the validator's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


def tune_threads() -> None:
    """Let the event loop wait less for threads that compute: comparisons of schemas, large bodies, reports, orders.

    Each of its turns would wait for five milliseconds, and a request takes several turns.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)


async def _main(settings: ServiceSettings, compose: Callable[[], Awaitable[Service]]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in HANDLED:
        loop.add_signal_handler(signum, stop.set)
    started: list[Component] = []
    try:
        service = await _compose(compose, stop)
        if service is None:
            _LOG.info("stopped")
            return
        try:
            await _start(service, stop, started)
            await _heartbeat(stop, service)
        finally:
            service.health.draining = True
            _LOG.info("draining")
            await _stop(started, settings.drain_timeout_s)
            _LOG.info("stopped")
    except ChangedSettingError as error:
        _LOG.error("setting changed", setting=error.setting)
        raise exit_with_errors([f"  {error}"]) from None
    except Exception as error:
        _LOG.exception("process failed")
        raise SystemExit(1) from error


async def _compose(compose: Callable[[], Awaitable[Service]], stop: asyncio.Event) -> Service | None:
    """Build the service, which may wait for the schema registry; None if a signal arrives meanwhile."""
    composing = asyncio.ensure_future(compose())
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait([composing, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not composing.done():
        composing.cancel()
        await asyncio.wait([composing])
        return None
    return composing.result()


async def _start(service: Service, stop: asyncio.Event, started: list[Component]) -> None:
    for component in service.components:
        if stop.is_set():
            return
        started.append(component)
        await component.start()
    tune_gc()


async def _heartbeat(stop: asyncio.Event, service: Service) -> None:
    """Measure the event loop's delay until `stop` is set; raises the failure of a startup task."""
    loop = asyncio.get_running_loop()
    startup_tasks = [component for component in service.components if isinstance(component, StartupTask)]
    trimmer = MemoryTrimmer()
    while not stop.is_set():
        due = loop.time() + service.heartbeat_s
        try:
            async with asyncio.timeout_at(due):
                await stop.wait()
        except TimeoutError:
            LOOP_DELAY.observe(max(loop.time() - due, 0.0))
        await trimmer.trim_if_due(loop.time())
        for task in startup_tasks:
            if task.failure is not None:
                raise task.failure


async def _stop(components: Sequence[Component], timeout_s: float) -> None:
    """Stop in reverse order; a component that fails or times out costs the others nothing but time."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    for component in reversed(components):
        try:
            async with asyncio.timeout_at(max(deadline, loop.time() + MIN_DRAIN_S)):
                await component.stop()
        except TimeoutError:
            _LOG.error("component took too long to stop", component=type(component).__name__)
        except Exception:  # noqa: BLE001 - the other components must still stop
            _LOG.exception("component failed to stop", component=type(component).__name__)
