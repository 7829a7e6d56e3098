"""A managed process: how it exits, what exits with it, and what is reported."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sandbox.errors import NotReadyError
from sandbox.polling import wait_until
from sandbox.process import ManagedProcess, Program, tail

# Exits on SIGTERM like a service. Without a handler the kernel would end it, stopped or not.
HANDLES_SIGTERM = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("started", flush=True)
time.sleep(60)  # until it is killed
"""
# Prints that it has started, with the process id of its child; ignores SIGTERM.
IGNORES_SIGTERM = """
import signal, subprocess, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("started", subprocess.Popen(["sleep", "60"]).pid, flush=True)
time.sleep(60)  # until it is killed
"""
# Runs several threads that never wait; prints that it has started.
RUNS_THREADS = """
import threading
def spin():
    while True:
        pass
for _ in range(4):
    threading.Thread(target=spin, daemon=True).start()
print("started", flush=True)
spin()
"""
# Starts a program as the sandbox does, then kills itself.
KILLS_ITSELF = """
import os, signal, sys
from pathlib import Path
from sandbox.process import ManagedProcess, Program
process = ManagedProcess(Program(name="it", command=["sleep", "60"], log=Path(sys.argv[1])))
process.launch()
print(process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def processes() -> Iterator[list[ManagedProcess]]:
    """Processes that are killed after the test."""
    started: list[ManagedProcess] = []
    yield started
    for process in started:
        process.kill()


def start_process(processes: list[ManagedProcess], log: Path, *command: str) -> ManagedProcess:
    child = ManagedProcess(Program(name="it", command=command, log=log))
    processes.append(child)
    child.launch()
    return child


def has_exited(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_no_thread_of_a_suspended_program_still_runs(processes: list[ManagedProcess], tmp_path: Path) -> None:
    child = start_process(processes, tmp_path / "log", sys.executable, "-c", RUNS_THREADS)
    wait_until(
        lambda: "started" in child.tail(), deadline_s=10, description="it has not started", diagnostics=child.tail
    )
    for _ in range(20):
        child.suspend()
        assert child.pid is not None
        states = [Path(f"/proc/{child.pid}/task/{thread.id}/stat") for thread in psutil.Process(child.pid).threads()]
        assert {state.read_text().rpartition(")")[2].split()[0] for state in states} == {"T"}
        child.resume()
    child.kill()
    child.suspend()


def test_a_suspended_program_is_asked_to_end_too(processes: list[ManagedProcess], tmp_path: Path) -> None:
    child = start_process(processes, tmp_path / "log", sys.executable, "-c", HANDLES_SIGTERM)
    wait_until(
        lambda: "started" in child.tail(), deadline_s=10, description="it has not started", diagnostics=child.tail
    )
    child.suspend()
    child.stop(grace_s=5)
    assert child.exit_code == 0


def test_a_program_that_does_not_follow_is_killed_with_all_that_it_started(
    processes: list[ManagedProcess], tmp_path: Path
) -> None:
    child = start_process(processes, tmp_path / "log", sys.executable, "-c", IGNORES_SIGTERM)
    wait_until(
        lambda: re.fullmatch(r"started \d+", child.tail()) is not None,
        deadline_s=10,
        description="it has not started",
        diagnostics=child.tail,
    )
    started = int(child.tail().split()[1])
    child.stop(grace_s=0.05)
    assert child.exit_code == -signal.SIGKILL
    wait_until(lambda: has_exited(started), deadline_s=5, description="its child is still running")


def test_programs_die_with_the_one_who_started_them(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLS_ITSELF, str(tmp_path / "log")],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    wait_until(lambda: has_exited(int(done.stdout)), deadline_s=5, description="it is still running")


def test_why_it_ended_is_told_from_its_last_launch_only(processes: list[ManagedProcess], tmp_path: Path) -> None:
    child = start_process(processes, tmp_path / "log", "sh", "-c", "echo no luck $$; exit 3")
    wait_until(lambda: not child.is_running, deadline_s=10, description="it is still running")
    first = child.tail()
    child.launch()
    with pytest.raises(NotReadyError, match="it exited with code 3\nno luck") as ended:
        child.wait_until(lambda: False, deadline_s=10)
    assert first not in str(ended.value)


def test_of_a_log_as_many_lines_are_shown_as_are_asked_for(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert tail(log) == ""
    log.write_text("".join(f"line {number}\n" for number in range(5_000)))
    assert tail(log, 2) == "line 4998\nline 4999"
    assert tail(log, 0) == ""
    assert tail(log, 4_999).splitlines()[0] == "line 1"
    assert tail(log, 3, since=log.stat().st_size - len("line 4999\n")) == "line 4999"
