"""What benchmarks run in: a sandbox with the benchmark's tenant, and a core for the program under test."""

import json
import os
import shlex
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bench.tenant import PRODUCTS, write_documents
from sandbox.polling import wait_until

REPOSITORY = Path(__file__).resolve().parents[1]


def _cores() -> tuple[int, int]:
    first, *_, last = sorted(os.sched_getaffinity(0)) * 2
    return first, last


# The core of the program under test, and that of everything else; read before anything is pinned.
TESTED_CORE, OTHER_CORE = _cores()


def wait_until_listening(port: int) -> None:
    """Return once something accepts connections to this port of loopback; raises `NotReadyError` after 20 seconds."""

    def is_listening() -> bool:
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        return False

    wait_until(is_listening, deadline_s=20, description=f"nothing listens on port {port}")


class BenchSandbox:
    """A running sandbox in a temporary directory, driven by its command line."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def run(self, *arguments: str) -> str:
        """Run `python -m sandbox …`; return its output."""
        return run_python(["sandbox", *arguments], {"SANDBOX_DIR": str(self.directory / "sandbox")})

    @property
    def endpoints(self) -> dict[str, Any]:
        """The content of `endpoints.json`."""
        found: dict[str, Any] = json.loads((self.directory / "sandbox" / "endpoints.json").read_text(encoding="utf-8"))
        return found

    def environment(self, *service: str) -> dict[str, str]:
        """The variables of a service, or those of `python -m services`."""
        lines = [line.removeprefix("export ").partition("=") for line in self.run("env", *service).splitlines()]
        return {name: "".join(shlex.split(value)) for name, _, value in lines}

    def processes(self) -> dict[str, int]:
        """The process ids of the running components by name."""
        rows: list[dict[str, Any]] = json.loads(self.run("status", "--json"))
        return {row["name"]: row["pid"] for row in rows if row["pid"]}


@contextmanager
def running_sandbox(*, load_tenant: bool = True, products: int = PRODUCTS) -> Iterator[BenchSandbox]:
    """Start a sandbox, load the benchmark's tenant and its catalogue, and stop the sandbox at the end."""
    with tempfile.TemporaryDirectory() as directory:
        sandbox = BenchSandbox(Path(directory))
        sandbox.run("up", "--port", "0")
        try:
            if load_tenant:
                tenants, catalogue = write_documents(sandbox.directory, products=products)
                documents = ["--tenants", str(tenants), "--catalogue", str(catalogue)]
                run_python(["services", "init", *documents], sandbox.environment())
            yield sandbox
        finally:
            sandbox.run("down")


def run_python(module: Sequence[str], environment: Mapping[str, str], *, core: int | None = None) -> str:
    """Run `python -m MODULE ARGUMENTS…`, on one core if given; return its standard output. Raises if it fails."""
    command = [sys.executable, "-m", *module]
    return run_command(command if core is None else pin_to_core(command, core), environment)


def run_command(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """Run a command in the repository; return its standard output. Raises if it fails."""
    return subprocess.run(
        command,
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout


def pin_to_core(command: Sequence[str], core: int) -> list[str]:
    """Return the command line that runs a command on one core."""
    return ["taskset", "--cpu-list", str(core), *command]


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` of the values are; 0 without values."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)] if values else 0.0
