"""A whole sandbox, driven like an operator would: by commands and signals."""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Installation:
    """A sandbox in a directory of its own. `settings` are additional variables of its services."""

    directory: Path
    settings: Mapping[str, str] = field(default_factory=dict)

    def try_run(self, *arguments: str, within_s: float = 120) -> subprocess.CompletedProcess[str]:
        """Run `python -m sandbox …`."""
        return subprocess.run(
            [sys.executable, "-m", "sandbox", *arguments],
            cwd=REPOSITORY,
            env={**os.environ, **self.settings, "SANDBOX_DIR": str(self.directory)},
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
        )

    def run(self, *arguments: str, within_s: float = 120) -> str:
        """Run `python -m sandbox …`, which must succeed; return its output."""
        done = self.try_run(*arguments, within_s=within_s)
        assert done.returncode == 0, f"{arguments}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def run_cli(self, *arguments: str, within_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run `python -m services …`, which must succeed."""
        done = self.try_cli(*arguments, within_s=within_s)
        assert done.returncode == 0, f"{arguments}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done

    def try_cli(
        self, *arguments: str, settings: Mapping[str, str] | None = None, within_s: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run `python -m services …`, whether or not it succeeds. `settings` are variables of this run only."""
        return subprocess.run(
            [sys.executable, "-m", "services", *arguments],
            cwd=REPOSITORY,
            env={**os.environ, **self.environment_of("auth"), **(settings or {})},
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
        )

    def environment_of(self, name: str) -> dict[str, str]:
        """Return the environment variables of a service."""
        lines = [line.removeprefix("export ").partition("=") for line in self.run("env", name).splitlines()]
        return {**self.settings, **{variable: "".join(shlex.split(value)) for variable, _, value in lines}}

    @property
    def endpoints(self) -> dict[str, Any]:
        """The content of `endpoints.json`."""
        read: dict[str, Any] = json.loads((self.directory / "endpoints.json").read_text())
        return read

    @property
    def base(self) -> str:
        """The gateway's base URL."""
        return str(self.endpoints["gateway"])

    def status(self) -> dict[str, Any]:
        """Return the rows of `status --json` by name."""
        return {row["name"]: row for row in json.loads(self.run("status", "--json"))}

    def kill(self, name: str) -> None:
        """Kill a component, as a crash would."""
        os.kill(self.status()[name]["pid"], signal.SIGKILL)
