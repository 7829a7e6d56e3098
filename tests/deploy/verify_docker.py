"""`make verify-docker`: builds the image and tests the compose stack, also after a crash of the broker."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp

from sandbox.ports import free_port
from tests.deploy.compose import EXAMPLE
from tests.deploy.manifests import REPOSITORY
from tests.e2e.customer import DEMO, Customer

PROJECT = "tillstream-verify"
MAX_IMAGE_BYTES = 300 * 1024**2
# Size of the published base image; a custom one (`PYTHON_IMAGE`) may be larger.
PUBLISHED_BASE = 130 * 1024**2
MIN_JOBS = 50
# Tests that need only the URL of an installation.
ACCEPTANCE = ("tests/e2e/test_import.py", "tests/e2e/test_client_libraries.py")
# Tests on Kafka or MongoDB itself, run with servers in containers.
ON_CONTAINERS = (
    "tests/chassis",
    "tests/auth/test_stores.py",
    "tests/ingest/test_publisher_on_kafka.py",
    "tests/ingest/test_idempotency_store.py",
    "tests/status/test_job_store.py",
    "tests/status/test_job_store_lists.py",
    "tests/fulfilment/test_races.py",
)


def unavailable_reason() -> str | None:
    """Return why verification is impossible here; None if it is possible."""
    if shutil.which("docker") is None:
        return "docker is not installed"
    for component, command in (("engine answers", ["info"]), ("compose plugin is there", ["compose", "version"])):
        if subprocess.run(["docker", *command], capture_output=True, check=False, timeout=60).returncode != 0:
            return f"no {component}"
    return None


def step(what: str, command: Sequence[str], **environment: str) -> None:
    """Print and run one step; raises if it fails."""
    print(f"== {what}", flush=True)  # noqa: T201 - command output
    subprocess.run(command, cwd=REPOSITORY, env={**os.environ, **environment}, check=True)


def output_of(*command: str) -> str:
    """Return the output of a command."""
    return subprocess.run(
        command, cwd=REPOSITORY, check=True, capture_output=True, text=True, timeout=60
    ).stdout.strip()


def error_lines(logs: str) -> str:
    """Return the last error lines and the last lines of a log."""
    lines = logs.splitlines()
    return "\n".join([*[line for line in lines if '"level": "error"' in line][-10:], *lines[-30:]])


def check_image(image: str, base: str) -> None:
    """Check that the image is small, runs as a numeric user and needs no writable file system."""
    size, user = output_of("docker", "image", "inspect", "--format", "{{.Size}} {{.Config.User}}", image).split()
    ours = int(size) - int(output_of("docker", "image", "inspect", "--format", "{{.Size}}", base))
    print(f"   {int(size) / 1024**2:.0f} MiB, {ours / 1024**2:.0f} above the base image, as user {user}")  # noqa: T201 - command output
    assert user == "10001:10001"
    assert min(int(size), ours + PUBLISHED_BASE) <= MAX_IMAGE_BYTES
    locked_in = ("--rm", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges:true")
    assert "Operator commands" in output_of("docker", "run", *locked_in, image, "services", "--help")


async def import_during_crash(base: str, crash: "asyncio.Future[None]") -> int:
    """Import while the broker crashes and returns; every accepted job must end with its one record."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=40)) as session:
        customer = Customer(base, session, DEMO)
        jobs: list[str] = []
        while not crash.done() or len(jobs) < MIN_JOBS:
            reply = await customer.send_with_retry([customer.order()], within_s=120)
            assert reply.status == 202, reply
            jobs.append(reply.json["jobId"])
        await crash
        for job in jobs:
            final = await customer.wait_for_job(job, within_s=60)
            assert final["summary"]["job"]["baggage"]["records"] == {"total": 1, "failed": 0, "success": 1}
    return len(jobs)


async def check_broker_crash(base: str, compose: Sequence[str]) -> None:
    """Kill the broker's container under load and start it again."""

    def crash() -> None:
        step("the broker dies", [*compose, "kill", "kafka"])
        step("the broker comes back", [*compose, "up", "--detach", "--wait"])

    accepted = await import_during_crash(base, asyncio.ensure_future(asyncio.to_thread(crash)))
    print(f"   {accepted} jobs were accepted meanwhile, and all of them have ended")  # noqa: T201 - command output


def verify(settings: Path, port: int) -> None:
    """Build, start, test and remove the stack."""
    compose = ["docker", "compose", "--project-name", PROJECT, "--env-file", str(settings)]
    base = f"http://127.0.0.1:{port}"
    demo = [sys.executable, "-m", "sandbox", "demo", "--base", base]
    try:
        step("build", [*compose, "build"])
        check_image("tillstream:local", os.environ.get("PYTHON_IMAGE", "python:3.11-slim-bookworm"))
        step("up", [*compose, "up", "--detach", "--wait"])
        step("the demo", demo)
        step("acceptance", [sys.executable, "-m", "pytest", "-q", *ACCEPTANCE], E2E_BASE=base)
        asyncio.run(check_broker_crash(base, compose))
        step("the demo once more", demo)
    except BaseException:
        print(error_lines(output_of(*compose, "logs", "--no-color")))  # noqa: T201 - command output
        raise
    finally:
        step("down", [*compose, "down", "--volumes", "--timeout", "20"])
    step("tests on containers", [sys.executable, "-m", "pytest", "-q", *ON_CONTAINERS], TEST_SERVERS="containers")


def main() -> int:
    """Verify, or print why that is skipped."""
    reason = unavailable_reason()
    if reason is not None:
        print(f"skipped: {reason}")  # noqa: T201 - command output
        return 0
    port, kafka = free_port(), free_port()
    with TemporaryDirectory() as directory:
        settings = Path(directory) / "verify.env"
        ports = f"PORT={port}\nKAFKA_PORT={kafka}\nAUTH_PUBLIC_URL=http://127.0.0.1:{port}\n"
        settings.write_text(EXAMPLE.read_text(encoding="utf-8") + ports, encoding="utf-8")
        try:
            verify(settings, port)
        except subprocess.CalledProcessError as error:
            print(f"failed: {error}")  # noqa: T201 - command output
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
