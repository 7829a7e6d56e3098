"""Keeps the parts of a sandbox: starts them, notices their end, stops them in order."""

import asyncio
import signal
import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from sandbox.parts import Part
from sandbox.screen import Screen
from sandbox.state import State
from sandbox.waiting import NeverReady

PAUSE_S = 0.05
WATCH_EVERY_S = 0.2
SECONDS_TO_SETTLE = 60.0
# Services get ten seconds to drain, and a little more before they are killed.
GRACE_S = 12.0


class Refused(Exception):  # noqa: N818 - says what happened
    """An order that cannot be followed now."""


class Supervisor:
    """Everything happens in one thread: the kernel ends the programs with the thread that started them."""

    def __init__(self, parts: Sequence[Part], screen: Screen) -> None:
        self.parts: Mapping[str, Part] = {part.name: part for part in parts}
        self._screen = screen
        self._tasks: set[asyncio.Task[None]] = set()

    async def start_all(self, names: Sequence[str]) -> None:
        """Start these at once and return when all are ready. Raises `NeverReady` if one does not get there."""
        parts = [self.parts[name] for name in names]
        for part in parts:
            self._launch(part)
        with self._screen.waiting(", ".join(names)):
            settling = [asyncio.create_task(self._settle_aloud(part, parts)) for part in parts]
            try:
                await asyncio.gather(*settling)
            finally:
                for task in settling:
                    task.cancel()

    def order_start(self, name: str) -> Part:
        """Start one part; its state tells when it is ready."""
        part = self._known(name)
        # Its last end may have been so lately that nobody has looked yet.
        self._notice_ends()
        if part.child.is_running:
            raise Refused(f"{name} is already running")
        self._launch(part)
        self._in_background(self._settle_or_report(part))
        return part

    def order_stop(self, name: str) -> Part:
        """Ask one part to end; its state tells when it is gone."""
        part = self._known(name)
        # One that was not ready in time counts as dead, and runs.
        if not part.child.is_running:
            part.state = State.STOPPED
        elif part.state is not State.STOPPING:
            self._in_background(self._stop(part))
        return part

    def rows(self) -> list[dict[str, Any]]:
        """What `status` tells."""
        self._notice_ends()
        return [part.row() for part in self.parts.values()]

    async def watch(self) -> None:
        """Report, for ever, each part that ends without having been asked to."""
        while True:
            self._notice_ends()
            await asyncio.sleep(WATCH_EVERY_S)

    async def stop_all(self, stages: Sequence[Sequence[str]]) -> None:
        """Stop everything, one stage after the other."""
        for task in self._tasks:
            task.cancel()
        for stage in stages:
            await asyncio.gather(*(self._stop(self.parts[name]) for name in stage if name in self.parts))

    def kill_all(self) -> None:
        """No more patience."""
        for part in self.parts.values():
            part.child.kill()

    def _known(self, name: str) -> Part:
        try:
            return self.parts[name]
        except KeyError:
            raise Refused(f"there is no {name}; there are: {', '.join(self.parts)}") from None

    def _launch(self, part: Part) -> None:
        part.launch()
        part.state = State.STARTING

    async def _settle_aloud(self, part: Part, others: Sequence[Part]) -> None:
        started = time.monotonic()
        await self._settle(part)
        self._screen.line(f"{part.name} ready ({time.monotonic() - started:.1f} s)")
        self._screen.still_waiting(", ".join(other.name for other in others if other.state is State.STARTING))

    async def _settle_or_report(self, part: Part) -> None:
        try:
            await self._settle(part)
        except NeverReady as error:
            if part.state is State.STARTING:
                part.state = State.DEAD
                self._screen.line(str(error))

    async def _settle(self, part: Part) -> None:
        end = time.monotonic() + SECONDS_TO_SETTLE
        while part.state is State.STARTING and not part.settle():
            if time.monotonic() > end:
                said = f"{part.excuse}\n{part.child.tail()}".strip()
                raise NeverReady(f"{part.name} is not ready after {SECONDS_TO_SETTLE:g} s\n{said}")
            await asyncio.sleep(PAUSE_S)
        if part.state is State.STARTING:
            part.state = State.READY

    async def _stop(self, part: Part) -> None:
        part.state = State.STOPPING
        end = time.monotonic() + GRACE_S
        part.child.terminate()
        while part.child.is_running:
            if time.monotonic() > end:
                self._screen.line(f"{part.name} did not end within {GRACE_S:g} s: killed")
                part.child.signal(signal.SIGKILL)
                end = time.monotonic() + GRACE_S
            await asyncio.sleep(PAUSE_S)
        part.state = State.STOPPED

    def _notice_ends(self) -> None:
        for part in self.parts.values():
            if part.state is State.READY and not part.child.is_running:
                part.state = State.DEAD
                self._screen.line(f"{part.name} ended with exit code {part.child.exit_code}\n{part.child.tail()}")

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
