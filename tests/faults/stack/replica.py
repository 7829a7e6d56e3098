"""A process of a service, with a proxy before its API."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psutil

from sandbox import paths
from sandbox.process import ManagedProcess, Program
from tests.faults.wire.proxy import Proxy

WRONG_CLOCK = paths.REPOSITORY / "tests" / "support" / "wrong_clock"
MIB = 1024 * 1024


@dataclass
class Replica:
    """One process of a service. It is started again with the same ports."""

    kind: str
    number: int
    proxy: Proxy
    operations_port: int
    environment: Mapping[str, str]
    log: Path
    process: ManagedProcess = field(init=False)
    # Whether the test has ended it: any other exit is a defect.
    is_down: bool = False
    highest_rss: int = 0

    def __post_init__(self) -> None:
        self.process = ManagedProcess(self._program(0.0))

    @property
    def name(self) -> str:
        """Such as status-2."""
        return f"{self.kind}-{self.number}"

    def launch(self, *, clock_offset_s: float = 0.0) -> None:
        """Start it and return at once."""
        self.process.program = self._program(clock_offset_s)
        self.process.launch()
        self.is_down = False

    def kill(self) -> None:
        """Kill it (SIGKILL)."""
        self.is_down = True
        self.process.kill()

    def measure(self) -> None:
        """Remember the memory in use if it is the most so far."""
        if self.process.is_running and self.process.pid:
            try:
                self.highest_rss = max(self.highest_rss, psutil.Process(self.process.pid).memory_info().rss)
            except psutil.NoSuchProcess:
                return

    async def is_ready(self, session: aiohttp.ClientSession) -> bool:
        """Whether `/ready` says so."""
        try:
            async with session.get(f"http://127.0.0.1:{self.operations_port}/ready") as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def metrics(self, session: aiohttp.ClientSession) -> bytes:
        """The text of `/metrics`; empty if it does not answer."""
        try:
            async with session.get(f"http://127.0.0.1:{self.operations_port}/metrics") as response:
                return await response.read()
        except (aiohttp.ClientError, TimeoutError):
            return b""

    def _program(self, clock_offset_s: float) -> Program:
        clock = {"PYTHONPATH": str(WRONG_CLOCK), "CLOCK_OFFSET_S": str(clock_offset_s)} if clock_offset_s else {}
        return Program(
            name=self.name,
            command=[sys.executable, "-m", f"services.{self.kind}"],
            log=self.log,
            environment={**self.environment, **clock},
            directory=paths.REPOSITORY,
        )
