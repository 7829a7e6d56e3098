"""The gateway (Caddy): one address for all services, with the same route table as the compose stack."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from sandbox import paths
from sandbox.errors import MissingDependencyError
from sandbox.ports import free_port
from sandbox.probes import http_status
from sandbox.process import ManagedProcess, Program

START_TIMEOUT_S = 20.0
# Nothing listens there: the gateway answers 503 for a service that is not part of the sandbox.
UNUSED_ADDRESS = "127.0.0.1:1"
UPSTREAMS = ("auth", "ingest", "status", "fulfilment", "ledger", "webhooks", "portal")


def find_caddy() -> Path:
    """Return the `caddy` beside this Python (where the sandbox's requirements install it), else the one on PATH."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which("caddy", path=os.pathsep.join([beside, os.environ.get("PATH", "")]))
    if found is None:
        raise MissingDependencyError("No caddy found: install the sandbox's requirements.")
    return Path(found)


class Gateway(ManagedProcess):
    """Caddy on one port in front of the services' addresses (`{"auth": "127.0.0.1:18001"}`)."""

    def __init__(self, directory: Path, *, upstreams: Mapping[str, str], port: int | None = None) -> None:
        self.port = port or free_port()
        self._directory = directory
        environment = {
            "GATEWAY_BIND": "127.0.0.1",
            "GATEWAY_PORT": str(self.port),
            "XDG_DATA_HOME": str(directory),
            "XDG_CONFIG_HOME": str(directory),
        }
        for name in UPSTREAMS:
            environment[f"{name.upper()}_ADDRESS"] = upstreams.get(name, UNUSED_ADDRESS)
        command = [str(find_caddy()), "run", "--adapter", "caddyfile", "--config", str(paths.CADDYFILE)]
        log = directory / "gateway.log"
        super().__init__(Program(name="gateway", command=command, log=log, environment=environment))

    @property
    def url(self) -> str:
        """The base URL for clients."""
        return f"http://127.0.0.1:{self.port}"

    def launch(self) -> None:
        """Start the process and return at once."""
        self._directory.mkdir(parents=True, exist_ok=True)
        super().launch()

    def is_ready(self) -> bool:
        """Whether it answers. Raises `NotReadyError` if it has exited."""
        self.assert_running()
        # A path that it answers itself: services start later.
        return http_status(f"{self.url}/gateway") is not None

    def start(self) -> None:
        """Start (or restart) it and wait until it answers."""
        self.launch()
        self.wait_until(self.is_ready, deadline_s=START_TIMEOUT_S)
