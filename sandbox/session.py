"""One run of a sandbox in the foreground of this process: start everything, wait, stop everything."""

import asyncio
import contextlib
import os
import signal
import time
from typing import Any

from sandbox.components import STOP_ORDER, Sandbox, build_sandbox
from sandbox.console import Console
from sandbox.control_socket import Message, exclusive_lock, serve_requests
from sandbox.demo import show_demo
from sandbox.demo.cases import CLIENT_ID, CLIENT_SECRET, OPERATOR_ID, OPERATOR_SECRET
from sandbox.errors import NotReadyError, PortInUseError, RequestRefusedError
from sandbox.layout import Layout
from sandbox.ports import is_free
from sandbox.process import ManagedProcess
from sandbox.services import SERVICES
from sandbox.supervisor import POLL_INTERVAL_S, Supervisor

# A signal to the whole process group may arrive twice at once; a second Ctrl-C of a person comes later than this.
DUPLICATE_SIGNAL_S = 0.7
INIT_TIMEOUT_S = 60.0


def run_sandbox(layout: Layout, *, port: int, console: Console) -> int:
    """Run a sandbox until it is asked to stop; return the exit code."""
    layout.create()
    with exclusive_lock(layout):
        if not is_free(port):
            raise PortInUseError(f"Port {port} is in use. Choose another one: PORT=18080 make run, or --port 18080")
        layout.delete_service_logs()
        sandbox = build_sandbox(layout, port=port, console=console)
        layout.write_endpoints(sandbox.endpoints())
        return asyncio.run(Session(sandbox, console).run())


class Session:
    """The life of one sandbox."""

    def __init__(self, sandbox: Sandbox, console: Console) -> None:
        self._sandbox = sandbox
        self._console = console
        self._supervisor = Supervisor(sandbox.components, console)
        self._stop_requested = asyncio.Event()
        self._stop_requested_at = 0.0

    async def run(self) -> int:
        """Start everything, serve requests until a stop is requested, stop everything."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._request_stop)
        try:
            async with serve_requests(self._sandbox.layout, self._handle_request):
                return await self._start_and_wait()
        finally:
            self._supervisor.kill_all()  # kills nothing unless the orderly stop failed

    async def _start_and_wait(self) -> int:
        code = 0
        watching = asyncio.create_task(self._supervisor.watch())
        try:
            await self._run_unless_stopped(self._start_all())
            await self._stop_requested.wait()
        except NotReadyError as error:
            code = 1
            self._console.line(str(error))
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
            await self._stop()
        return code

    async def _start_all(self) -> None:
        started_at = time.monotonic()
        await self._supervisor.start_all(self._sandbox.before_services)
        await self._run_init()
        await self._supervisor.start_all([service.name for service in SERVICES])
        self._console.line(f"everything is ready ({time.monotonic() - started_at:.1f} s); running the demo")
        if not await show_demo(self._sandbox.environment.gateway_url, self._console):
            self._console.line("Some results differ from the documents.")
        self._console.line(f"ready {self._sandbox.environment.gateway_url}")
        self._console.line(
            "sign in there with client id and secret: "
            f"{CLIENT_ID} {CLIENT_SECRET} (demo customer), {OPERATOR_ID} {OPERATOR_SECRET} (demo operator)"
        )

    async def _run_init(self) -> None:
        """Create topics and indexes, load tenants and catalogue: the validator reads the catalogue when it starts."""
        init = self._sandbox.init_command()
        started_at = time.monotonic()
        init.launch()
        try:
            with self._console.waiting("topics, indexes, tenants and catalogue"):
                await _wait_for_success(init)
        finally:
            init.kill()
        self._console.line(f"topics, indexes, tenants and catalogue created ({time.monotonic() - started_at:.1f} s)")

    async def _stop(self) -> None:
        self._stop_requested_at = self._stop_requested_at or time.monotonic()
        self._console.line("stopping")
        await self._supervisor.stop_all(STOP_ORDER)
        self._console.line("stopped")

    async def _run_unless_stopped(self, work: Any) -> None:
        """Await the work, but cancel it as soon as a stop is requested."""
        working, stopping = asyncio.create_task(work), asyncio.create_task(self._stop_requested.wait())
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            stopping.cancel()
            await working
            return
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)

    def _request_stop(self) -> None:
        now = time.monotonic()
        if self._stop_requested_at and now - self._stop_requested_at > DUPLICATE_SIGNAL_S:
            self._supervisor.kill_all()
        self._stop_requested_at = self._stop_requested_at or now
        self._stop_requested.set()

    def _handle_request(self, request: Message) -> Message:
        """Carry out, or begin to carry out, a request of another process."""
        try:
            return {"process": os.getpid(), "components": self._execute(request["do"], request.get("name", ""))}
        except RequestRefusedError as error:
            return {"refused": str(error)}

    def _execute(self, command: str, name: str) -> list[dict[str, Any]]:
        if self._stop_requested.is_set() and command != "status":
            raise RequestRefusedError("the sandbox is stopping")
        if command == "start":
            return [self._supervisor.request_start(name).status_row()]
        if command == "stop":
            return [self._supervisor.request_stop(name).status_row()]
        if command == "down":
            self._request_stop()
        elif command != "status":
            raise RequestRefusedError(f"unknown command {command}")
        return self._supervisor.status_rows()


async def _wait_for_success(process: ManagedProcess) -> None:
    name, end = process.program.name, time.monotonic() + INIT_TIMEOUT_S
    while process.is_running:
        if time.monotonic() > end:
            raise NotReadyError(f"{name} is still running after {INIT_TIMEOUT_S:g} s\n{process.tail()}")
        await asyncio.sleep(POLL_INTERVAL_S)
    if process.exit_code != 0:
        raise NotReadyError(f"{name} exited with code {process.exit_code}\n{process.tail()}")
