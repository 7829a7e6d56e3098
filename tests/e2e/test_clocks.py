"""A process whose clock is wrong says so, and is not ready."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
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


@pytest.mark.parametrize("service", ["auth", "ingest", "validator", "status", "fulfilment"])
def test_a_service_whose_clock_is_wrong_is_not_ready(installation: Installation, service: str, tmp_path: Path) -> None:
    """F20. Breaks: the clock of one process is ten minutes behind. Known by `/ready`, `/metrics` and the log."""
    log = tmp_path / "log"
    with running(installation, service, clock_offset_s=-600, log=log) as port:
        wait_until(
            lambda: "local clock is wrong" in log.read_text(),
            deadline_s=START_TIMEOUT_S,
            description="the log line of a wrong clock",
            diagnostics=log.read_text,
        )
        assert readiness(port)["clock"] is False
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as response:
            lines = response.read().decode().splitlines()
        (offset,) = (float(line.split()[1]) for line in lines if line.startswith("clock_offset_seconds "))
        assert offset == pytest.approx(-600, abs=5)
