"""One program, started, watched and stopped."""

import ctypes
import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sandbox.waiting import NeverReady, until

PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to start. `environment` is added to this process's own; output goes to the end of `log`."""

    name: str
    command: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path | None = None


class Child:
    """A running (or ended) program.

    It lives in a session of its own, so that Ctrl-C at the terminal reaches only the one who started it, and dies
    with that one. Start from the main thread: the kernel ties a child's life to the thread that started it.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._log_began = 0

    @property
    def pid(self) -> int | None:
        """The process id, also after its end; None before the first launch."""
        return self._process.pid if self._process else None

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
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
            self._log_began = log.tell()
            self._process = subprocess.Popen(
                list(self.program.command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.program.environment},
                cwd=self.program.directory,
                start_new_session=True,
                preexec_fn=_leash(),  # noqa: PLW1509 - it only calls prctl and getppid
            )

    def must_run(self) -> None:
        """Raise `NeverReady` with the end of the log if the program is not there."""
        if not self.is_running:
            raise NeverReady(f"{self.program.name} ended with exit code {self.exit_code}\n{self.tail()}".rstrip())

    def wait_until(self, condition: Callable[[], bool], *, deadline_s: float) -> None:
        """Return once the condition holds; raise `NeverReady` if it does not in time, or the program ends."""

        def holds() -> bool:
            self.must_run()
            return condition()

        until(holds, deadline_s=deadline_s, what=f"{self.program.name} is not ready", evidence=self.tail)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if the program still runs."""
        if self._process is not None and self.is_running:
            self._process.send_signal(number)

    def terminate(self) -> None:
        """Ask it to end (SIGTERM) and return at once."""
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)  # a frozen program cannot hear SIGTERM

    def stop(self, *, grace_s: float = 15.0) -> None:
        """SIGTERM, and SIGKILL after the grace period. Returns when the program is gone."""
        if self._process is None:
            return
        self.terminate()
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """SIGKILL to the program and what it started. Returns when it is gone."""
        if self._process is None:
            return
        if self.is_running:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def tail(self, lines: int = 20) -> str:
        """The end of what it has logged since its launch."""
        return tail(self.program.log, lines, since=self._log_began)


def tail(log: Path, lines: int = 20, *, since: int = 0) -> str:
    """The last lines of a file, from an offset on; empty if it is not there."""
    try:
        with log.open("rb") as file:
            file.seek(since)
            last = deque(file, maxlen=lines)
    except OSError:
        return ""
    return b"".join(last).decode("utf-8", "replace").rstrip("\n")


def _leash() -> Callable[[], None] | None:
    """What runs in the new process before the program: dies when its parent does, however that happens.

    Outside the main thread there is none: the child would end with the thread that started it.
    """
    if threading.current_thread() is not threading.main_thread():
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def tie() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the leash was on
            os._exit(1)

    return tie
