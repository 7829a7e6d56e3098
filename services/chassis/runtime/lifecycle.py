"""A process's life: parts start in order, work until a signal, drain in reverse order, exit 0."""

import asyncio
import ctypes
import gc
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

import uvloop

from services.chassis.runtime import metrics
from services.chassis.runtime.health import Health
from services.chassis.runtime.logs import configure, logger
from services.chassis.runtime.settings import ServiceSettings, redacted

LOOP_DELAY = metrics.histogram(
    "event_loop_delay_seconds",
    "How late the event loop runs what is due.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
BUILD = metrics.gauge("build_info", "Always 1; the labels tell what runs.", ["service", "version", "python"])

VERSION = "0.1.0"
# New objects until the young are looked at; such looks until the middle-aged are, and then the old.
_GC_THRESHOLDS = (50_000, 20, 50)
MIN_DRAIN_S = 0.3
# glibc's numbers for the two bounds, and the bounds: the first is when an allocation gets pages of its own.
_MALLOC_OPTIONS = {-3: 8 * 2**20, -1: 16 * 2**20}
_LOG = logger(__name__)


class Component(Protocol):
    """Something that lives as long as the process: a server, a consumer, a client."""

    async def start(self) -> None:
        """Begin; must not wait for other processes."""
        ...

    async def stop(self) -> None:
        """Finish what is in flight and let go."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A composed process: its parts in the order in which they start."""

    name: str
    health: Health
    components: Sequence[Component]
    heartbeat_s: float = field(default=0.25)


def run(name: str, settings: ServiceSettings, compose: Callable[[], Awaitable[Service]]) -> None:
    """Run until SIGTERM or SIGINT. `compose` builds the service inside the event loop."""
    tune_malloc()
    configure(name, settings.log_level)
    _LOG.info("starting", settings=redacted(settings), version=VERSION)
    BUILD.labels(name, VERSION, sys.version.split()[0]).set(1)
    uvloop.run(_main(settings, compose))


def tune_malloc() -> None:
    """Keep a few freed megabytes for the next answer that needs them.

    Bodies of megabytes come and go; to give their pages back and take new ones each time costs more than to fill them.
    """
    # Another C library than glibc does as it likes.
    with suppress(OSError, AttributeError):
        for bound, size in _MALLOC_OPTIONS.items():
            ctypes.CDLL(None).mallopt(bound, size)


def tune_gc() -> None:
    """Leave what was built to stay out of every collection of garbage from now on, and collect seldom.

    Records come and go by the thousand, and none of them refers to itself: with Python's own thresholds, looking for
    those that do takes a sixth of the validator's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


async def _main(settings: ServiceSettings, compose: Callable[[], Awaitable[Service]]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    started: list[Component] = []
    try:
        service = await compose()
        try:
            await _start(service, stop, started)
            await _heartbeat(stop, service.heartbeat_s)
        finally:
            service.health.draining = True
            _LOG.info("draining")
            await _stop(started, settings.drain_timeout_s)
            _LOG.info("stopped")
    except Exception as error:
        _LOG.exception("the process cannot go on")
        raise SystemExit(1) from error


async def _start(service: Service, stop: asyncio.Event, started: list[Component]) -> None:
    for part in service.components:
        if stop.is_set():
            return
        started.append(part)
        await part.start()
    tune_gc()


async def _heartbeat(stop: asyncio.Event, every_s: float) -> None:
    loop = asyncio.get_running_loop()
    while not stop.is_set():
        due = loop.time() + every_s
        try:
            async with asyncio.timeout_at(due):
                await stop.wait()
        except TimeoutError:
            LOOP_DELAY.observe(max(loop.time() - due, 0.0))


async def _stop(parts: Sequence[Component], within_s: float) -> None:
    """In reverse order; who takes too long or fails takes nothing from the others but time."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    for part in reversed(parts):
        try:
            async with asyncio.timeout_at(max(deadline, loop.time() + MIN_DRAIN_S)):
                await part.stop()
        except TimeoutError:
            _LOG.error("a part took too long to stop", part=type(part).__name__)
        except Exception:  # noqa: BLE001 - the other parts must still stop
            _LOG.exception("a part did not stop cleanly", part=type(part).__name__)
