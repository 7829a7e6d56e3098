"""Orders to a sandbox that runs in another process, and waiting until they are carried out."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import psutil

from sandbox import paths
from sandbox.control import AlreadyRunning, is_running, send
from sandbox.layout import Layout
from sandbox.screen import Screen
from sandbox.state import State
from sandbox.waiting import until

SECONDS_TO_START = 120.0
SECONDS_TO_STOP = 60.0


class Failed(Exception):  # noqa: N818 - says what happened
    """The order was refused, or not carried out."""


Row = dict[str, Any]


def status(layout: Layout) -> list[Row]:
    """Every part of the running sandbox. Raises `NotRunning`."""
    return _ask(layout, "status")


def stop(layout: Layout, name: str) -> Row:
    """Stop one part; returns when it is gone."""
    _ask(layout, "stop", name)
    return _when(layout, name, {State.STOPPED}, within_s=SECONDS_TO_STOP)


def start(layout: Layout, name: str) -> Row:
    """Start one part; returns when it is ready. Raises `Failed` when it is not to be."""
    _ask(layout, "start", name)
    row = _when(layout, name, {State.READY, State.DEAD}, within_s=SECONDS_TO_START)
    if row["state"] != State.READY:
        raise Failed(f"{name} did not start: see `python -m sandbox logs {name}`")
    return row


def down(layout: Layout) -> None:
    """Stop the sandbox; returns when its process is gone."""
    process = send(layout, {"do": "down"})["process"]
    until(lambda: _is_gone(process), deadline_s=SECONDS_TO_STOP, what=f"the sandbox in {layout.root} still runs")


def up(layout: Layout, *, port: int, screen: Screen) -> None:
    """Start a sandbox in the background, say what it says, and return when it is ready."""
    if is_running(layout):
        raise AlreadyRunning(f"A sandbox is already running in {layout.root}")
    layout.create()
    with layout.output.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "sandbox", "run", "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "SANDBOX_DIR": str(layout.root)},
            cwd=paths.REPOSITORY,
            start_new_session=True,
        )
    try:
        if not _repeat_until_ready(layout, process, screen):
            raise Failed(f"The sandbox ended with exit code {process.returncode}")
    except KeyboardInterrupt:
        process.send_signal(signal.SIGTERM)
        process.wait(SECONDS_TO_STOP)
        raise


def clean(layout: Layout) -> None:
    """Remove the sandbox's data. Raises `AlreadyRunning` while it is in use."""
    if is_running(layout):
        raise AlreadyRunning(f"A sandbox is running in {layout.root}: stop it first")
    with suppress(FileNotFoundError):
        shutil.rmtree(layout.root)


def _is_gone(process: int) -> bool:
    """A zombie counts as gone: in a container nobody may ever ask for its exit code."""
    try:
        return psutil.Process(process).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _ask(layout: Layout, what: str, name: str = "") -> list[Row]:
    answer = send(layout, {"do": what, "name": name})
    if "refused" in answer:
        raise Failed(answer["refused"])
    rows: list[Row] = answer["parts"]
    return rows


def _when(layout: Layout, name: str, states: set[State], *, within_s: float) -> Row:
    row: Row = {}

    def has_come() -> bool:
        nonlocal row
        (row,) = (each for each in status(layout) if each["name"] == name)
        return row["state"] in states

    until(has_come, deadline_s=within_s, what=f"{name} is not {' or '.join(sorted(states))}")
    return row


def _repeat_until_ready(layout: Layout, process: "subprocess.Popen[bytes]", screen: Screen) -> bool:
    """Show each line that appears in the sandbox's output; whether the last one said it is ready."""
    with layout.output.open(encoding="utf-8", errors="replace") as output:
        while True:
            ended = process.poll() is not None  # asked before reading: what it said last is still shown
            for line in _whole_lines(output.readlines):
                screen.line(line)
                if line.startswith("ready "):
                    return True
            if ended:
                return False
            time.sleep(0.05)  # between two looks at the file


def _whole_lines(read: Any) -> Sequence[str]:
    return [line.rstrip("\n") for line in read()]
