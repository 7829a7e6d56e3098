"""Start the components, report unexpected exits, stop the components in order."""

import asyncio
import signal
import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from sandbox.components import Component
from sandbox.console import Console
from sandbox.errors import NotReadyError, RequestRefusedError
from sandbox.state import State

POLL_INTERVAL_S = 0.05
WATCH_INTERVAL_S = 0.2
READY_TIMEOUT_S = 60.0
# Services get ten seconds to drain, and a margin before they are killed.
GRACE_S = 12.0


class Supervisor:
    """Supervises all components from one thread: the kernel kills processes when the thread that started them ends."""

    def __init__(self, components: Sequence[Component], console: Console) -> None:
        self.components: Mapping[str, Component] = {component.name: component for component in components}
        self._console = console
        self._tasks: set[asyncio.Task[None]] = set()

    async def start_all(self, names: Sequence[str]) -> None:
        """Start these concurrently and return when all are ready. Raises `NotReadyError` if one fails."""
        components = [self.components[name] for name in names]
        for component in components:
            self._launch(component)
        with self._console.waiting(", ".join(names)):
            waiting = [asyncio.create_task(self._wait_and_announce(each, components)) for each in components]
            try:
                await asyncio.gather(*waiting)
            finally:
                for task in waiting:
                    task.cancel()

    def request_start(self, name: str) -> Component:
        """Launch one component and return; its state shows when it is ready."""
        component = self._get(name)
        # It may have exited since the last check.
        self._detect_exits()
        if component.process.is_running:
            raise RequestRefusedError(f"{name} is already running")
        self._launch(component)
        self._in_background(self._wait_or_report(component))
        return component

    def request_stop(self, name: str) -> Component:
        """Begin to stop one component and return; its state shows when it has exited."""
        component = self._get(name)
        # A component that was not ready in time is dead, and may still be running.
        if not component.process.is_running:
            component.state = State.STOPPED
        elif component.state is not State.STOPPING:
            self._in_background(self._stop(component))
        return component

    def status_rows(self) -> list[dict[str, Any]]:
        """The rows of `status`."""
        self._detect_exits()
        return [component.status_row() for component in self.components.values()]

    async def watch(self) -> None:
        """Report unexpected exits until cancelled."""
        while True:
            self._detect_exits()
            await asyncio.sleep(WATCH_INTERVAL_S)

    async def stop_all(self, stages: Sequence[Sequence[str]]) -> None:
        """Stop everything, one stage after another."""
        for task in self._tasks:
            task.cancel()
        for stage in stages:
            await asyncio.gather(*(self._stop(self.components[name]) for name in stage if name in self.components))

    def kill_all(self) -> None:
        """Kill everything at once."""
        for component in self.components.values():
            component.process.kill()

    def _get(self, name: str) -> Component:
        try:
            return self.components[name]
        except KeyError:
            raise RequestRefusedError(f"no such component: {name} (components: {', '.join(self.components)})") from None

    def _launch(self, component: Component) -> None:
        component.launch()
        component.state = State.STARTING

    async def _wait_and_announce(self, component: Component, components: Sequence[Component]) -> None:
        started_at = time.monotonic()
        await self._wait_until_ready(component)
        self._console.line(f"{component.name} ready ({time.monotonic() - started_at:.1f} s)")
        self._console.update_waiting(", ".join(each.name for each in components if each.state is State.STARTING))

    async def _wait_or_report(self, component: Component) -> None:
        try:
            await self._wait_until_ready(component)
        except NotReadyError as error:
            if component.state is State.STARTING:
                component.state = State.DEAD
                self._console.line(str(error))

    async def _wait_until_ready(self, component: Component) -> None:
        end = time.monotonic() + READY_TIMEOUT_S
        while component.state is State.STARTING and not component.is_ready():
            if time.monotonic() > end:
                details = f"{component.last_error}\n{component.process.tail()}".strip()
                raise NotReadyError(f"{component.name} is not ready after {READY_TIMEOUT_S:g} s\n{details}")
            await asyncio.sleep(POLL_INTERVAL_S)
        if component.state is State.STARTING:
            component.state = State.READY

    async def _stop(self, component: Component) -> None:
        component.state = State.STOPPING
        end = time.monotonic() + GRACE_S
        component.process.terminate()
        while component.process.is_running:
            if time.monotonic() > end:
                self._console.line(f"{component.name} did not exit within {GRACE_S:g} s: killed")
                component.process.signal(signal.SIGKILL)
                end = time.monotonic() + GRACE_S
            await asyncio.sleep(POLL_INTERVAL_S)
        component.state = State.STOPPED

    def _detect_exits(self) -> None:
        for component in self.components.values():
            process = component.process
            if component.state is State.READY and not process.is_running:
                component.state = State.DEAD
                self._console.line(f"{component.name} exited with code {process.exit_code}\n{process.tail()}")

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
