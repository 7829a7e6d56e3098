"""`make verify-docker`: builds the image, brings the compose stack up, and shows the demo to it, also after a crash."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from sandbox.ports import free_port
from tests.deploy.compose import EXAMPLE
from tests.deploy.manifests import REPOSITORY

PROJECT = "tillstream-verify"
# Tests that show that the suite takes its servers from containers as well.
ON_CONTAINERS = ("tests/chassis/test_mongo_pool.py", "tests/chassis/test_producer.py")


def why_not() -> str | None:
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


def verify(settings: Path, port: int) -> None:
    """The stack from its build to its end."""
    compose = ["docker", "compose", "--project-name", PROJECT, "--env-file", str(settings)]
    demo = [sys.executable, "-m", "sandbox", "demo", "--base", f"http://127.0.0.1:{port}"]
    up = [*compose, "up", "--detach", "--wait"]
    try:
        step("build", [*compose, "build"])
        step("up", up)
        step("the demo", demo)
        step("the broker dies", [*compose, "kill", "kafka"])
        step("the broker comes back", up)
        step("the demo once more", demo)
    finally:
        step("down", [*compose, "down", "--volumes", "--timeout", "20"])
    step("tests on containers", [sys.executable, "-m", "pytest", "-q", *ON_CONTAINERS], TEST_SERVERS="containers")


def main() -> int:
    """Skip with a reason, or verify."""
    reason = why_not()
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
