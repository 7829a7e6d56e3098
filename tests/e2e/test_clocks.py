"""A process whose clock is wrong says so, and is not ready."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest

from sandbox.polling import wait_until
from sandbox.ports import free_ports
from tests.e2e.installation import REPOSITORY, Installation

WRONG_CLOCK = REPOSITORY / "tests" / "support" / "wrong_clock"
START_TIMEOUT_S = 60


@contextmanager
def running(installation: Installation, service: str, *, clock_offset_s: int, log: Path) -> Iterator[int]:
    """Run one more process of a service; yields its operations port."""
    (port,) = free_ports(1)
    own = {
        "OPERATIONS_PORT": str(port),
        "HTTP_PORT": "0",
        "ADMIN_PORT": "0",
        "KAFKA_GROUP_INSTANCE_ID": "",
        "PYTHONPATH": str(WRONG_CLOCK),
        "CLOCK_OFFSET_S": str(clock_offset_s),
    }
    environment = {**os.environ, **installation.environment_of(service), **own}
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", f"services.{service}"], cwd=REPOSITORY, env=environment, stdout=output, stderr=output
        )
        try:
            yield port
        finally:
            process.terminate()
            assert process.wait(20) == 0


def readiness(port: int) -> dict[str, bool]:
    """Return the parts of `/ready`; empty while nothing listens."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/ready", timeout=5) as response:
            body = response.read()
    except HTTPError as error:
        body = error.read()
        error.close()
    except URLError:
        return {}
    return dict(json.loads(body)["parts"])


def test_a_service_whose_clock_is_wrong_is_not_ready(installation: Installation, tmp_path: Path) -> None:
    """F20. Breaks: the clock of one process is ten minutes behind. Known by `/ready`, `/metrics` and the log."""
    with ExitStack() as stack:
        ports = {
            service: stack.enter_context(running(installation, service, clock_offset_s=-600, log=tmp_path / service))
            for service in ("auth", "ingest", "validator", "status", "fulfilment")
        }
        for service, port in ports.items():
            log = tmp_path / service
            wait_until(
                lambda log=log: "local clock is wrong" in log.read_text(),  # type: ignore[misc]
                deadline_s=START_TIMEOUT_S,
                description=f"the log line of {service}'s wrong clock",
                diagnostics=log.read_text,
            )
            assert readiness(port)["clock"] is False, service
            assert clock_offset_s(port) == pytest.approx(-600, abs=5), service


def clock_offset_s(port: int) -> float:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as response:
        lines = response.read().decode().splitlines()
    (offset_s,) = (float(line.split()[1]) for line in lines if line.startswith("clock_offset_seconds "))
    return offset_s
