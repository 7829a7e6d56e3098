"""Start, observe and stop one program."""

import ctypes
import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sandbox.errors import NotReadyError
from sandbox.polling import wait_until

PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to start. `environment` is added to this process's own; output is appended to `log`."""

    name: str
    command: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path | None = None


class ManagedProcess:
    """A running (or exited) program.

    It has a session of its own, so that Ctrl-C at the terminal reaches only its parent, and it dies with its parent.
    Start it from the main thread: the kernel ties the child to the thread that started it.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._log_offset = 0

    @property
    def pid(self) -> int | None:
        """The process id, also after the exit; None before the first launch."""
        return self._process.pid if self._process else None

    @property
    def is_running(self) -> bool:
        """Whether the process exists."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """The exit code (negative: the signal), None while it runs."""
        return self._process.poll() if self._process else None

    def launch(self) -> None:
        """Start the program and return at once."""
        if self.is_running:
            raise RuntimeError(f"{self.program.name} is already running")
        self.program.log.parent.mkdir(parents=True, exist_ok=True)
        with self.program.log.open("ab") as log:
            self._log_offset = log.tell()
            self._process = subprocess.Popen(
                list(self.program.command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.program.environment},
                cwd=self.program.directory,
                start_new_session=True,
                preexec_fn=_die_with_parent(),  # noqa: PLW1509 - it only calls prctl and getppid
            )

    def assert_running(self) -> None:
        """Raise `NotReadyError` with the end of the log if the program has exited."""
        if not self.is_running:
            raise NotReadyError(f"{self.program.name} exited with code {self.exit_code}\n{self.tail()}".rstrip())

    def wait_until(self, condition: Callable[[], bool], *, deadline_s: float) -> None:
        """Return once the condition holds; raise `NotReadyError` after `deadline_s` or when the program exits."""

        def holds() -> bool:
            self.assert_running()
            return condition()

        description = f"{self.program.name} is not ready"
        wait_until(holds, deadline_s=deadline_s, description=description, diagnostics=self.tail)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal if the program is running."""
        if self._process is not None and self.is_running:
            self._process.send_signal(number)

    def suspend(self) -> None:
        """Send SIGSTOP, and return when all threads have stopped: until then they may still send and receive."""
        if self._process is not None and self.is_running:
            self._process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Send SIGCONT."""
        self.signal(signal.SIGCONT)

    def terminate(self) -> None:
        """Send SIGTERM and return at once."""
        self.signal(signal.SIGTERM)
        self.resume()  # a suspended process cannot handle SIGTERM

    def stop(self, *, grace_s: float = 15.0) -> None:
        """Send SIGTERM, and SIGKILL after the grace period. Returns when the program has exited."""
        if self._process is None:
            return
        self.terminate()
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Send SIGKILL to the program and its children. Returns when it has exited."""
        if self._process is None:
            return
        if self.is_running:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def tail(self, lines: int = 20) -> str:
        """The last lines that it has logged since its launch."""
        return tail(self.program.log, lines, since=self._log_offset)


def tail(log: Path, lines: int = 20, *, since: int = 0) -> str:
    """The last lines of a file after an offset; empty if the file does not exist."""
    try:
        with log.open("rb") as file:
            file.seek(since)
            last = deque(file, maxlen=lines)
    except OSError:
        return ""
    return b"".join(last).decode("utf-8", "replace").rstrip("\n")


def _die_with_parent() -> Callable[[], None] | None:
    """A `preexec_fn` that makes the kernel kill the new process when its parent dies, for whatever reason.

    None outside the main thread: the child would die with the thread that started it.
    """
    if threading.current_thread() is not threading.main_thread():
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def set_death_signal() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent died before the call
            os._exit(1)

    return set_death_signal
