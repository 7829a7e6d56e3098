"""Replace a service by another program, as a release does, or run a second process beside it."""

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
    """A process outside the sandbox."""

    running: subprocess.Popen[bytes]
    log: Path

    def lines(self, text: str) -> list[str]:
        """Return the logged lines that contain this text."""
        return [line for line in self.log.read_text(encoding="utf-8").splitlines() if text in line]


@contextmanager
def python_process(settings: Mapping[str, str], log: Path, *arguments: str) -> Iterator[Process]:
    """While inside, run Python with these arguments and settings."""
    with log.open("wb") as file:
        running = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=REPOSITORY,
            env={**os.environ, **settings},
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
    broken: Installation, name: str, log: Path, *arguments: str, settings: Mapping[str, str] | None = None
) -> AsyncIterator[Process]:
    """While inside, run this instead of the service; start the service again at the end, which is the rollback."""
    environment = {**broken.environment_of(name), **(settings or {})}
    await asyncio.to_thread(broken.run, "stop", name)
    try:
        with python_process(environment, log, *arguments) as process:
            yield process
    finally:
        await asyncio.to_thread(broken.run, "start", name)


async def wait_ready(address: str) -> None:
    """Wait until `/ready` answers 200."""

    async def is_ready() -> bool:
        return await asyncio.to_thread(http_status, f"{address}/ready") == 200

    await until(is_ready, deadline_s=READY_TIMEOUT_S)
