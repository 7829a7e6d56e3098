"""The front door: one address for all services, with the route table that compose uses too."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from sandbox import paths
from sandbox.child import Child, Program
from sandbox.missing import Missing
from sandbox.ports import free_port
from sandbox.probes import http_status

SECONDS_TO_START = 20.0
# Nobody listens there: the front door answers 503 for a service that is not part of the sandbox.
NOWHERE = "127.0.0.1:1"
UPSTREAMS = ("auth", "ingest", "status", "fulfilment")


def find_caddy() -> Path:
    """The `caddy` beside this Python (the sandbox's requirements put it there), else the one on PATH."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which("caddy", path=os.pathsep.join([beside, os.environ.get("PATH", "")]))
    if found is None:
        raise Missing("No caddy found: install the sandbox's requirements.")
    return Path(found)


class Front(Child):
    """Caddy on one port, in front of the services' addresses (`{"auth": "127.0.0.1:18001"}`)."""

    def __init__(self, directory: Path, *, upstreams: Mapping[str, str], port: int | None = None) -> None:
        self.port = port or free_port()
        self._directory = directory
        environment = {
            "FRONT_BIND": "127.0.0.1",
            "FRONT_PORT": str(self.port),
            "XDG_DATA_HOME": str(directory),
            "XDG_CONFIG_HOME": str(directory),
        }
        for name in UPSTREAMS:
            environment[f"{name.upper()}_ADDRESS"] = upstreams.get(name, NOWHERE)
        command = [str(find_caddy()), "run", "--adapter", "caddyfile", "--config", str(paths.CADDYFILE)]
        super().__init__(Program(name="front", command=command, log=directory / "front.log", environment=environment))

    @property
    def url(self) -> str:
        """Where customers knock."""
        return f"http://127.0.0.1:{self.port}"

    def launch(self) -> None:
        """Start the process and return at once."""
        self._directory.mkdir(parents=True, exist_ok=True)
        super().launch()

    def settle(self) -> bool:
        """Whether it answers. Raises `NeverReady` if it ended."""
        self.must_run()
        return http_status(self.url) is not None

    def start(self) -> None:
        """Start it (again) and wait until it answers."""
        self.launch()
        self.wait_until(self.settle, deadline_s=SECONDS_TO_START)
