"""A process whose clock is wrong says so, is not ready, and judges nothing by it."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest

from sandbox.polling import wait_until
from sandbox.ports import free_ports
from tests.e2e.customer import Customer
from tests.e2e.installation import REPOSITORY, Installation

WRONG_CLOCK = REPOSITORY / "tests" / "support" / "wrong_clock"
START_TIMEOUT_S = 60
UNKNOWN_PRODUCTS = [{"productId": "product3", "quantity": 1, "unitPrice": 1}]


@contextmanager
def running(
    installation: Installation, service: str, *, clock_offset_s: int, log: Path, **settings: str
) -> Iterator[int]:
    """Run one more process of a service; yields its operations port."""
    (port,) = free_ports(1)
    own = {
        "OPERATIONS_PORT": str(port),
        "HTTP_PORT": "0",
        "ADMIN_PORT": "0",
        "PYTHONPATH": str(WRONG_CLOCK),
        "CLOCK_OFFSET_S": str(clock_offset_s),
    }
    environment = {**os.environ, **installation.environment_of(service), **own, **settings}
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
            service: stack.enter_context(
                running(installation, service, clock_offset_s=-600, log=tmp_path / service, KAFKA_GROUP_INSTANCE_ID="")
            )
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


@pytest.mark.parametrize("offset_s", [-3 * 3_600, 3 * 3_600])
async def test_a_validator_whose_clock_is_wrong_judges_as_any_other(
    installation: Installation, customer: Customer, offset_s: int, tmp_path: Path
) -> None:
    """F20. Breaks: the only validator's clock. Known by the jobs' outcomes and by the times of their events."""
    log = tmp_path / "log"
    await asyncio.to_thread(installation.run, "stop", "validator")
    try:
        with running(installation, "validator", clock_offset_s=offset_s, log=log):
            reply = await customer.send_with_retry([customer.order(), customer.order(lineItems=UNKNOWN_PRODUCTS)])
            assert reply.status == 202, reply
            final = await customer.wait_for_job(reply.json["jobId"], within_s=60)
    finally:
        await asyncio.to_thread(installation.run, "start", "validator")
    assert final["summary"]["job"]["baggage"]["records"] == {"total": 2, "failed": 1, "success": 1}
    (event,) = final["result"]
    assert event["attributes"]["code"] == "PRODUCT_NOT_FOUND"
    assert abs(datetime.fromisoformat(event["timestamp"]) - datetime.now(UTC)) < timedelta(minutes=2)
