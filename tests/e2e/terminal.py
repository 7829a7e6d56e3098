"""A process on a terminal."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Self


class Terminal:
    """Runs a program as if a person had started it in a terminal window, and keeps what is shown."""

    COLUMNS, ROWS = 100, 24

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], directory: Path) -> None:
        # COLUMNS and LINES would count more than the size of the window.
        self._environment = {name: value for name, value in environment.items() if name not in {"COLUMNS", "LINES"}}
        self._arguments, self._directory = arguments, directory
        self._shown = b""
        self._read = 0

    def __enter__(self) -> Self:
        self._screen, program_side = pty.openpty()
        fcntl.ioctl(program_side, termios.TIOCSWINSZ, struct.pack("HHHH", self.ROWS, self.COLUMNS, 0, 0))
        self._process = subprocess.Popen(
            self._arguments,
            cwd=self._directory,
            env=self._environment,
            stdin=program_side,
            stdout=program_side,
            stderr=program_side,
            start_new_session=True,
        )
        os.close(program_side)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        os.close(self._screen)

    def type(self, text: str) -> None:
        """Press these keys."""
        os.write(self._screen, text.encode())

    def wait_for(self, text: str, *, within_s: float = 30) -> None:
        """Return once the text is shown, behind what was waited for before."""
        deadline = monotonic() + within_s
        while (at := self._shown.find(text.encode(), self._read)) < 0:
            assert monotonic() < deadline, self._shown.decode(errors="replace")
            self._receive(0.1)
        self._read = at + len(text.encode())

    def read_to_end(self, *, within_s: float = 60) -> str:
        """Return all that is shown until the program ends."""
        deadline = monotonic() + within_s
        while self._receive(0.1):
            assert monotonic() < deadline, self._shown.decode(errors="replace")
        return self._shown.decode()

    def _receive(self, timeout_s: float) -> bool:
        """Read what is shown by now; return False at the end."""
        if not select.select([self._screen], [], [], timeout_s)[0]:
            return True
        try:
            received = os.read(self._screen, 65_536)
        except OSError:
            # Linux reports the end of the other side as an error.
            return False
        self._shown += received
        return bool(received)
