"""A program of the sandbox: how it ends, what ends with it, and what is told of it."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sandbox.child import Child, Program, tail
from sandbox.waiting import NeverReady, until

# Ends as a service does, once it hears SIGTERM: the kernel ends those that do not listen, frozen or not.
LISTENING = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("begun", flush=True)
time.sleep(60)  # until it is ended
"""
# Says that it has begun, with the process id of a program that it started; hears no SIGTERM.
STUBBORN = """
import signal, subprocess, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("begun", subprocess.Popen(["sleep", "60"]).pid, flush=True)
time.sleep(60)  # until it is ended
"""
# Starts a program as the sandbox does, and is killed then.
KILLED = """
import os, signal, sys
from pathlib import Path
from sandbox.child import Child, Program
child = Child(Program(name="it", command=["sleep", "60"], log=Path(sys.argv[1])))
child.launch()
print(child.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def made() -> Iterator[list[Child]]:
    """Children that are gone after the test, whatever came of it."""
    children: list[Child] = []
    yield children
    for child in children:
        child.kill()


def a_child(made: list[Child], log: Path, *command: str) -> Child:
    child = Child(Program(name="it", command=command, log=log))
    made.append(child)
    child.launch()
    return child


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_frozen_program_is_asked_to_end_too(made: list[Child], tmp_path: Path) -> None:
    child = a_child(made, tmp_path / "log", sys.executable, "-c", LISTENING)
    until(lambda: "begun" in child.tail(), deadline_s=10, what="it has not begun", evidence=child.tail)
    child.signal(signal.SIGSTOP)
    child.stop(grace_s=5)
    assert child.exit_code == 0


def test_a_program_that_does_not_follow_is_killed_with_all_that_it_started(made: list[Child], tmp_path: Path) -> None:
    child = a_child(made, tmp_path / "log", sys.executable, "-c", STUBBORN)
    until(lambda: "begun" in child.tail(), deadline_s=10, what="it has not begun", evidence=child.tail)
    started = int(child.tail().split()[1])
    child.stop(grace_s=0.05)
    assert child.exit_code == -signal.SIGKILL
    until(lambda: is_gone(started), deadline_s=5, what="what it had started lives on")


def test_programs_die_with_the_one_who_started_them(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "log")], capture_output=True, text=True, check=False, timeout=30
    )
    assert told.returncode == -signal.SIGKILL, told.stderr
    until(lambda: is_gone(int(told.stdout)), deadline_s=5, what="it lives on")


def test_why_it_ended_is_told_from_its_last_launch_only(made: list[Child], tmp_path: Path) -> None:
    child = a_child(made, tmp_path / "log", "sh", "-c", "echo no luck $$; exit 3")
    until(lambda: not child.is_running, deadline_s=10, what="it runs on")
    first = child.tail()
    child.launch()
    with pytest.raises(NeverReady, match="it ended with exit code 3\nno luck") as ended:
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
