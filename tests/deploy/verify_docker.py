"""`make verify-docker`: builds the image, brings the compose stack up, and shows the demo to it, also after a crash."""

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
LARGEST_IMAGE = 300 * 1024**2
# The published base of the image, in bytes; an own one (`PYTHON_IMAGE`) may be larger, which is not our doing.
PUBLISHED_BASE = 130 * 1024**2
AT_LEAST = 50
# What a customer can see of an installation, wherever it is.
ACCEPTANCE = ("tests/e2e/test_import.py", "tests/e2e/test_client_libraries.py")
# Tests that show that the suite takes its servers from containers as well: those on Kafka or MongoDB itself.
ON_CONTAINERS = (
    "tests/chassis",
    "tests/auth/test_stores.py",
    "tests/ingest/test_publisher_on_kafka.py",
    "tests/ingest/test_idempotency_store.py",
    "tests/status/test_store.py",
    "tests/fulfilment/test_races.py",
)


def unavailable_reason() -> str | None:
    """Why nothing can be verified here; None if it can."""
    if shutil.which("docker") is None:
        return "there is no docker"
    for what, look in (("engine answers", ["info"]), ("compose plugin is there", ["compose", "version"])):
        if subprocess.run(["docker", *look], capture_output=True, check=False, timeout=60).returncode != 0:
            return f"no {what}"
    return None


def step(what: str, command: Sequence[str], **environment: str) -> None:
    """Do one thing and say so; a failure ends it all."""
    print(f"== {what}", flush=True)  # noqa: T201 - for whoever called
    subprocess.run(command, cwd=REPOSITORY, env={**os.environ, **environment}, check=True)


def output_of(*command: str) -> str:
    """What a command says."""
    return subprocess.run(
        command, cwd=REPOSITORY, check=True, capture_output=True, text=True, timeout=60
    ).stdout.strip()


def error_lines(logs: str) -> str:
    """The latest lines that tell of a defect, and the latest of all."""
    lines = logs.splitlines()
    return "\n".join([*[line for line in lines if '"level": "error"' in line][-10:], *lines[-30:]])


def check_image(image: str, base: str) -> None:
    """Small, of a user that is not root, and content with a file system that it cannot write to."""
    size, user = output_of("docker", "image", "inspect", "--format", "{{.Size}} {{.Config.User}}", image).split()
    ours = int(size) - int(output_of("docker", "image", "inspect", "--format", "{{.Size}}", base))
    print(f"   {int(size) / 1024**2:.0f} MiB, {ours / 1024**2:.0f} of them ours, as user {user}")  # noqa: T201 - for whoever called
    assert user == "10001:10001"
    assert min(int(size), ours + PUBLISHED_BASE) <= LARGEST_IMAGE
    locked_in = ("--rm", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges:true")
    assert "who may get tokens" in output_of("docker", "run", *locked_in, image, "services", "--help")


async def import_during_crash(base: str, crash: "asyncio.Future[None]") -> int:
    """Import while the broker dies and comes back: all that was accepted ends, with its one record."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=40)) as session:
        customer = Customer(base, session, DEMO)
        jobs: list[str] = []
        while not crash.done() or len(jobs) < AT_LEAST:
            reply = await customer.send_with_retry([customer.order()], within_s=120)
            assert reply.status == 202, reply
            jobs.append(reply.json["jobId"])
        await crash
        for job in jobs:
            final = await customer.wait_for_job(job, within_s=60)
            assert final["summary"]["job"]["baggage"]["records"] == {"total": 1, "failed": 0, "success": 1}
    return len(jobs)


async def check_broker_crash(base: str, compose: Sequence[str]) -> None:
    """Kill the broker's container under load, bring it back, and count."""

    def crash() -> None:
        step("the broker dies", [*compose, "kill", "kafka"])
        step("the broker comes back", [*compose, "up", "--detach", "--wait"])

    kept = await import_during_crash(base, asyncio.ensure_future(asyncio.to_thread(crash)))
    print(f"   {kept} jobs were accepted meanwhile, and all of them have ended as they should")  # noqa: T201 - for whoever called


def verify(settings: Path, port: int) -> None:
    """The stack from its build to its end."""
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
        print(error_lines(output_of(*compose, "logs", "--no-color")))  # noqa: T201 - for whoever called
        raise
    finally:
        step("down", [*compose, "down", "--volumes", "--timeout", "20"])
    step("tests on containers", [sys.executable, "-m", "pytest", "-q", *ON_CONTAINERS], TEST_SERVERS="containers")


def main() -> int:
    """Skip with a reason, or verify."""
    reason = unavailable_reason()
    if reason is not None:
        print(f"skipped: {reason}")  # noqa: T201 - for whoever called
        return 0
    port, kafka = free_port(), free_port()
    with TemporaryDirectory() as directory:
        settings = Path(directory) / "verify.env"
        ports = f"PORT={port}\nKAFKA_PORT={kafka}\nAUTH_PUBLIC_URL=http://127.0.0.1:{port}\n"
        settings.write_text(EXAMPLE.read_text(encoding="utf-8") + ports, encoding="utf-8")
        try:
            verify(settings, port)
        except subprocess.CalledProcessError as error:
            print(f"failed: {error}")  # noqa: T201 - for whoever called
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
