"""The directory of one sandbox: data, ports, secrets, endpoints."""

import json
import os
import secrets
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.ports import free_port, is_free

SECRETS = (
    "AUTH_KEY_ENCRYPTION_KEY",
    "PAGE_TOKEN_KEY",
    "CODE_ENCRYPTION_KEYS",
    "CODE_DIGEST_KEY",
    "ERASURE_KEY",
    "WEBHOOKS_ENCRYPTION_KEYS",
    "WEBHOOKS_SIGNING_KEYS",
    "PORTAL_ENCRYPTION_KEYS",
)


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths inside the directory; reading one creates nothing."""

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
    def gateway(self) -> Path:
        """The gateway's files."""
        return self.root / "gateway"

    @property
    def lock(self) -> Path:
        """Lock file of the process that runs this sandbox."""
        return self.root / "lock"

    @property
    def sandbox_log(self) -> Path:
        """Terminal output of a sandbox in the background."""
        return self.root / "logs" / "sandbox.log"

    def log(self, name: str) -> Path:
        """The log of one service."""
        return self.root / "logs" / f"{name}.log"

    def create(self) -> None:
        """Create the directory, accessible by its owner only: it contains secrets."""
        self.root.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o700)
        self.sandbox_log.parent.mkdir(exist_ok=True)

    def delete_service_logs(self) -> None:
        """Delete the services' logs, so that each covers one run."""
        for log in self.sandbox_log.parent.glob("*.log"):
            if log != self.sandbox_log:
                log.unlink()

    def allocate_ports(self, counts: Mapping[str, int]) -> dict[str, list[int]]:
        """Return `counts[name]` ports for each name: those of the previous run if still free, else new ones."""
        path = self.root / "ports.json"
        known: dict[str, list[int]] = _read(path) or {}
        used = {port for ports in known.values() for port in ports}
        chosen: dict[str, list[int]] = {}
        for name, count in counts.items():
            previous = known.get(name, [])
            if len(previous) == count and all(is_free(port) for port in previous):
                chosen[name] = previous
            else:
                chosen[name] = [_unused_port(used) for _ in range(count)]
        _write(path, chosen)
        return chosen

    def secrets(self) -> dict[str, str]:
        """Return the services' keys; generated once, in a file that only its owner can read."""
        path = self.root / "secrets.json"
        known: dict[str, str] = _read(path) or {}
        if any(name not in known for name in SECRETS):
            known = {name: known.get(name) or _generate_key() for name in SECRETS}
            _write(path, known)
        return known

    def write_endpoints(self, endpoints: Mapping[str, Any]) -> None:
        """Write `endpoints.json`."""
        _write(self.root / "endpoints.json", endpoints)

    def endpoints(self) -> dict[str, Any] | None:
        """Read `endpoints.json`, possibly of a sandbox that has stopped; None if there never was one."""
        found: dict[str, Any] | None = _read(self.root / "endpoints.json")
        return found


def _generate_key() -> str:
    return b64encode(secrets.token_bytes(32)).decode()


def _unused_port(used: set[int]) -> int:
    port = free_port()
    while port in used:
        port = free_port()
    used.add(port)
    return port


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def _write(path: Path, value: Any) -> None:
    """Write atomically, readable by the owner only."""
    temporary = path.with_suffix(".tmp")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2)
        file.write("\n")
    temporary.replace(path)
