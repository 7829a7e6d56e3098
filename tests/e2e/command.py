"""Runs the command `tillstream` as its users do: as a process, with credentials in the environment."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.customer import DEMO, Tenant

SOURCES = Path(__file__).resolve().parents[2] / "clients" / "python"


@dataclass(frozen=True)
class Finished:
    """A process that has ended."""

    code: int
    out: str
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """Lines of JSON on the standard output."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True)
class Command:
    """The command with a state directory of its own. `profile` replaces the variables with the credentials."""

    base: str
    directory: Path
    tenant: Tenant = DEMO
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("TILLSTREAM_")},
            "PYTHONPATH": str(SOURCES),
            "TILLSTREAM_STATE_DIR": str(self.directory / "state"),
            "TILLSTREAM_CONFIG_DIR": str(self.directory / "config"),
            "TILLSTREAM_BASE_URL": self.base,
            "TILLSTREAM_CLIENT_ID": self.tenant.client_id,
            "TILLSTREAM_CLIENT_SECRET": self.tenant.secret,
            "TILLSTREAM_API_KEY": self.tenant.api_key,
            **self.variables,
        }

    def start(self, *arguments: str, stdin: int | None = subprocess.DEVNULL) -> "subprocess.Popen[str]":
        """Start it."""
        return subprocess.Popen(
            [sys.executable, "-m", "tillstream", *arguments],
            cwd=self.directory,
            env=self.environment,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, stdin: bytes = b"", within_s: float = 100) -> Finished:
        """Run it to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "tillstream", *arguments],
            cwd=self.directory,
            env=self.environment,
            input=stdin,
            capture_output=True,
            timeout=within_s,
            check=False,
        )
        return Finished(done.returncode, done.stdout.decode(), done.stderr.decode())
