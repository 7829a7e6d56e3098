"""A whole sandbox, handled as an operator would: by its commands and by signals."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Installation:
    """A sandbox in a directory of its own."""

    directory: Path

    def command(self, *arguments: str, within_s: float = 120) -> subprocess.CompletedProcess[str]:
        """Run `python -m sandbox …`."""
        return subprocess.run(
            [sys.executable, "-m", "sandbox", *arguments],
            cwd=REPOSITORY,
            env={**os.environ, "SANDBOX_DIR": str(self.directory)},
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
        )

    def must(self, *arguments: str, within_s: float = 120) -> str:
        """Run a command that has to succeed; its output."""
        done = self.command(*arguments, within_s=within_s)
        assert done.returncode == 0, f"{arguments}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    @property
    def base(self) -> str:
        """Where the front door is."""
        endpoints = json.loads((self.directory / "endpoints.json").read_text())
        return str(endpoints["front_door"])

    def parts(self) -> dict[str, Any]:
        """What `status --json` says, by name."""
        return {part["name"]: part for part in json.loads(self.must("status", "--json"))}

    def kill(self, name: str) -> None:
        """End a part as a crash would."""
        os.kill(self.parts()[name]["pid"], signal.SIGKILL)
