"""A copy of the sandbox with stub services, driven by its command line."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from sandbox import paths
from sandbox.services import SERVICES

STUB = Path(__file__).with_name("stub_service.py")


@dataclass(frozen=True, slots=True)
class StubCheckout:
    """`servers`: variables that name Kafka and MongoDB, so that the sandbox starts none."""

    root: Path
    servers: dict[str, str]

    def command(self, *arguments: str, code: int = 0) -> str:
        """Run one command; return its output."""
        done = subprocess.run(
            self._command_line(arguments),
            cwd=self.root,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start one command in a process group of its own, as a terminal does."""
        return subprocess.Popen(
            self._command_line(arguments),
            cwd=self.root,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def status(self) -> dict[str, dict[str, Any]]:
        """Return the rows of `status --json` by name."""
        return {row["name"]: row for row in json.loads(self.command("status", "--json"))}

    def processes(self) -> list[psutil.Process]:
        """Return all running processes whose working directory is in this checkout."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()).is_relative_to(self.root):
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def kill_everything(self) -> None:
        """Clean up after a failed test."""
        for process in self.processes():
            os.kill(process.pid, signal.SIGKILL)

    @property
    def _environment(self) -> dict[str, str]:
        variables = {name: value for name, value in os.environ.items() if not name.startswith(("SANDBOX_", "PORT"))}
        return {**variables, **self.servers, "TERM": "dumb"}

    def _command_line(self, arguments: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "sandbox", *arguments]


def build_stub_checkout(root: Path, *, kafka: str, mongodb: str) -> StubCheckout:
    """Copy the sandbox to `root`, beside stub services."""
    shutil.copytree(paths.REPOSITORY / "sandbox", root / "sandbox", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(paths.CADDYFILE.parent, root / "deploy" / "gateway")
    services = root / "services"
    services.mkdir()
    (services / "__init__.py").touch()
    (services / "__main__.py").write_text("import sys\nprint('loaded', *sys.argv[1:])\n", encoding="utf-8")
    for service in SERVICES:
        shutil.copyfile(STUB, services / f"{service.name}.py")
    return StubCheckout(root, {"KAFKA_BOOTSTRAP_SERVERS": kafka, "MONGODB_URI": mongodb})
