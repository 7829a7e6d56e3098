"""Something else in the place of a service, as a release puts it there, and a second process beside one."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox.probes import http_status
from tests.chassis.eventually import until
from tests.e2e.installation import REPOSITORY, Installation

READY_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class Process:
    """A process that is no part of the sandbox; its log is `log`."""

    running: subprocess.Popen[bytes]
    log: Path

    def lines(self, text: str) -> list[str]:
        """What it has logged so far with this text."""
        return [line for line in self.log.read_text(encoding="utf-8").splitlines() if text in line]


@contextmanager
def python_process(told: Mapping[str, str], log: Path, *arguments: str) -> Iterator[Process]:
    """Python with these arguments and settings, as long as we are inside."""
    with log.open("wb") as file:
        running = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=REPOSITORY,
            env={**os.environ, **told},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Process(running, log)
    finally:
        running.terminate()
        try:
            running.wait(15)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


@asynccontextmanager
async def replaced_service(
    broken: Installation, name: str, log: Path, *arguments: str, told: Mapping[str, str] | None = None
) -> AsyncIterator[Process]:
    """Inside, this stands in the place of the service; afterwards the service is back: that is the rollback."""
    settings = {**broken.environment_of(name), **(told or {})}
    await asyncio.to_thread(broken.run, "stop", name)
    try:
        with python_process(settings, log, *arguments) as other:
            yield other
    finally:
        await asyncio.to_thread(broken.run, "start", name)


async def wait_ready(address: str) -> None:
    """Return when what answers there is ready."""

    async def is_ready() -> bool:
        return await asyncio.to_thread(http_status, f"{address}/ready") == 200

    await until(is_ready, deadline_s=READY_TIMEOUT_S)
