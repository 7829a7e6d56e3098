"""The directory of one sandbox: its data, its ports, its secrets, and where its parts can be reached."""

import json
import os
import secrets
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.ports import free_port, is_free

SECRETS = ("AUTH_KEY_ENCRYPTION_KEY", "PAGE_TOKEN_KEY", "CODE_ENCRYPTION_KEYS", "CODE_DIGEST_KEY")


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths inside the directory. Nothing is created by asking for one."""

    root: Path

    @property
    def kafka(self) -> Path:
        """Kafka's data."""
        return self.root / "kafka"

    @property
    def mongodb(self) -> Path:
        """MongoDB's data."""
        return self.root / "mongodb"

    @property
    def front(self) -> Path:
        """The front door's few files."""
        return self.root / "front"

    @property
    def lock(self) -> Path:
        """Held by the process that runs this sandbox."""
        return self.root / "lock"

    @property
    def output(self) -> Path:
        """What a sandbox in the background would have said at a terminal."""
        return self.root / "logs" / "sandbox.log"

    def log(self, name: str) -> Path:
        """A service's log."""
        return self.root / "logs" / f"{name}.log"

    def create(self) -> None:
        """Make the directory, readable by its owner only: it holds keys."""
        self.root.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o700)
        self.output.parent.mkdir(exist_ok=True)

    def forget_logs(self) -> None:
        """Begin the services' logs anew: they tell of one run."""
        for log in self.output.parent.glob("*.log"):
            if log != self.output:
                log.unlink()

    def ports(self, wanted: Mapping[str, int]) -> dict[str, list[int]]:
        """So many ports for each name: the ones of last time where they are still free, else new ones."""
        path = self.root / "ports.json"
        known: dict[str, list[int]] = _read(path) or {}
        taken = {port for ports in known.values() for port in ports}
        chosen: dict[str, list[int]] = {}
        for name, count in wanted.items():
            before = known.get(name, [])
            if len(before) == count and all(is_free(port) for port in before):
                chosen[name] = before
            else:
                chosen[name] = [_another(taken) for _ in range(count)]
        _write(path, chosen)
        return chosen

    def secrets(self) -> dict[str, str]:
        """The services' keys, drawn once; the file is its owner's alone."""
        path = self.root / "secrets.json"
        known: dict[str, str] = _read(path) or {}
        if any(name not in known for name in SECRETS):
            known = {name: known.get(name) or _fresh_key() for name in SECRETS}
            _write(path, known)
        return known

    def write_endpoints(self, endpoints: Mapping[str, Any]) -> None:
        """Let others know where everything is."""
        _write(self.root / "endpoints.json", endpoints)

    def endpoints(self) -> dict[str, Any] | None:
        """Where everything is (or was, if the sandbox is not running); None if there never was one."""
        found: dict[str, Any] | None = _read(self.root / "endpoints.json")
        return found


def _fresh_key() -> str:
    return b64encode(secrets.token_bytes(32)).decode()


def _another(taken: set[int]) -> int:
    port = free_port()
    while port in taken:
        port = free_port()
    taken.add(port)
    return port


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def _write(path: Path, value: Any) -> None:
    """All or nothing, for the owner's eyes."""
    draft = path.with_suffix(".draft")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2)
        file.write("\n")
    draft.replace(path)
