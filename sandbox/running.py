"""One sandbox from its first program to its last, in the foreground of this process."""

import asyncio
import contextlib
import os
import signal
import time
from typing import Any

from sandbox.child import Child
from sandbox.components import STOPPING_ORDER, Assembly, assemble
from sandbox.control import Order, listening, sole_owner
from sandbox.demo import show_demo
from sandbox.layout import Layout
from sandbox.ports import PortTaken, is_free
from sandbox.screen import Screen
from sandbox.services import SERVICES
from sandbox.supervisor import PAUSE_S, Refused, Supervisor
from sandbox.waiting import NeverReady

# A signal to the whole group of processes may arrive twice; a person who insists takes longer than that.
INSISTENCE_S = 0.7
SECONDS_TO_LOAD = 60.0


class _Ended(Exception):  # noqa: N818 - not an error: somebody asked for the end
    """The sandbox is asked to end."""


def run_sandbox(layout: Layout, *, port: int, screen: Screen) -> int:
    """Run a sandbox until it is told to end; the exit code."""
    layout.create()
    with sole_owner(layout):
        if not is_free(port):
            raise PortTaken(f"Port {port} is taken. Choose another one: PORT=18080 make run, or --port 18080")
        layout.forget_logs()
        assembly = assemble(layout, port=port, screen=screen)
        layout.write_endpoints(assembly.endpoints())
        return asyncio.run(_Run(assembly, screen).whole())


class _Run:
    """The life of one sandbox."""

    def __init__(self, assembly: Assembly, screen: Screen) -> None:
        self._assembly = assembly
        self._screen = screen
        self._supervisor = Supervisor(assembly.parts, screen)
        self._end = asyncio.Event()
        self._asked_at = 0.0

    async def whole(self) -> int:
        """Start, stay, stop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._ask_to_end)
        try:
            async with listening(self._assembly.layout, self._answer):
                return await self._until_the_end()
        finally:
            self._supervisor.kill_all()  # nothing is left to kill unless something went very wrong

    async def _until_the_end(self) -> int:
        code = 0
        watching = asyncio.create_task(self._supervisor.watch())
        try:
            await self._unless_ended(self._bring_up())
            await self._end.wait()
        except _Ended:
            pass
        except NeverReady as error:
            code = 1
            self._screen.line(str(error))
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
            await self._stop()
        return code

    async def _bring_up(self) -> None:
        started = time.monotonic()
        await self._supervisor.start_all(self._assembly.foundation)
        await self._load()
        await self._supervisor.start_all([service.name for service in SERVICES])
        self._screen.line(f"everything ready ({time.monotonic() - started:.1f} s); the documents' examples follow")
        if not await show_demo(self._assembly.world.front_door, self._screen):
            self._screen.line("Not everything is as the documents print it.")
        self._screen.line(f"ready {self._assembly.world.front_door}")

    async def _load(self) -> None:
        """Topics, indexes, tenants, catalogue: before the validator starts, which reads the catalogue to its end."""
        loading = self._assembly.loading()
        started = time.monotonic()
        loading.launch()
        try:
            with self._screen.waiting("topics, indexes, tenants and catalogue"):
                await _ended_well(loading)
        finally:
            loading.kill()
        self._screen.line(f"topics, indexes, tenants and catalogue are there ({time.monotonic() - started:.1f} s)")

    async def _stop(self) -> None:
        self._asked_at = self._asked_at or time.monotonic()
        self._screen.line("stopping")
        await self._supervisor.stop_all(STOPPING_ORDER)
        self._screen.line("stopped")

    async def _unless_ended(self, work: Any) -> None:
        """Do the work, but drop it as soon as the end is asked for."""
        doing, ending = asyncio.create_task(work), asyncio.create_task(self._end.wait())
        await asyncio.wait({doing, ending}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            ending.cancel()
            await doing
            return
        doing.cancel()
        await asyncio.gather(doing, return_exceptions=True)
        raise _Ended

    def _ask_to_end(self) -> None:
        now = time.monotonic()
        if self._asked_at and now - self._asked_at > INSISTENCE_S:
            self._supervisor.kill_all()
        self._asked_at = self._asked_at or now
        self._end.set()

    def _answer(self, order: Order) -> Order:
        """What another process asked for, done or begun."""
        try:
            return {"process": os.getpid(), "parts": self._follow(order["do"], order.get("name", ""))}
        except Refused as error:
            return {"refused": str(error)}

    def _follow(self, what: str, name: str) -> list[dict[str, Any]]:
        if self._end.is_set() and what != "status":
            raise Refused("the sandbox is stopping")
        if what == "start":
            return [self._supervisor.order_start(name).row()]
        if what == "stop":
            return [self._supervisor.order_stop(name).row()]
        if what == "down":
            self._ask_to_end()
        elif what != "status":
            raise Refused(f"unknown order {what}")
        return self._supervisor.rows()


async def _ended_well(child: Child) -> None:
    end = time.monotonic() + SECONDS_TO_LOAD
    while child.is_running:
        if time.monotonic() > end:
            raise NeverReady(f"{child.program.name} has not ended after {SECONDS_TO_LOAD:g} s\n{child.tail()}")
        await asyncio.sleep(PAUSE_S)
    if child.exit_code != 0:
        raise NeverReady(f"{child.program.name} ended with exit code {child.exit_code}\n{child.tail()}")
