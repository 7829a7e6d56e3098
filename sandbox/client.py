"""Requests to a sandbox that runs in another process; each function returns when the request has taken effect."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

import psutil

from sandbox import paths
from sandbox.console import Console
from sandbox.control_socket import is_running, send
from sandbox.errors import AlreadyRunningError, CommandFailedError
from sandbox.layout import Layout
from sandbox.polling import wait_until
from sandbox.state import State

START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 60.0

StatusRow = dict[str, Any]


def status(layout: Layout) -> list[StatusRow]:
    """Return a row for each component of the running sandbox. Raises `NotRunningError`."""
    return _request(layout, "status")


def stop(layout: Layout, name: str) -> StatusRow:
    """Stop one component; returns when it has exited."""
    _request(layout, "stop", name)
    return _wait_for_state(layout, name, {State.STOPPED}, timeout_s=STOP_TIMEOUT_S)


def start(layout: Layout, name: str) -> StatusRow:
    """Start one component; returns when it is ready. Raises `CommandFailedError` when it does not become ready."""
    _request(layout, "start", name)
    row = _wait_for_state(layout, name, {State.READY, State.DEAD}, timeout_s=START_TIMEOUT_S)
    if row["state"] != State.READY:
        raise CommandFailedError(f"{name} did not start: see `python -m sandbox logs {name}`")
    return row


def down(layout: Layout) -> None:
    """Stop the sandbox; returns when its process has exited."""
    pid = send(layout, {"do": "down"})["process"]
    wait_until(
        lambda: _has_exited(pid),
        deadline_s=STOP_TIMEOUT_S,
        description=f"the sandbox in {layout.root} is still running",
    )


def up(layout: Layout, *, port: int, console: Console) -> None:
    """Start a sandbox in the background, relay its output, and return when it is ready."""
    if is_running(layout):
        raise AlreadyRunningError(f"A sandbox is already running in {layout.root}")
    layout.create()
    with layout.sandbox_log.open("wb") as output:
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
        if not _relay_output_until_ready(layout, process, console):
            raise CommandFailedError(f"The sandbox exited with code {process.returncode}")
    except KeyboardInterrupt:
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_TIMEOUT_S)
        raise


def clean(layout: Layout) -> None:
    """Delete the sandbox's data. Raises `AlreadyRunningError` while it is in use."""
    if is_running(layout):
        raise AlreadyRunningError(f"A sandbox is running in {layout.root}: stop it first")
    with suppress(FileNotFoundError):
        shutil.rmtree(layout.root)


def _has_exited(pid: int) -> bool:
    """A zombie counts as exited: in a container possibly nothing reaps it."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _request(layout: Layout, command: str, name: str = "") -> list[StatusRow]:
    response = send(layout, {"do": command, "name": name})
    if "refused" in response:
        raise CommandFailedError(response["refused"])
    rows: list[StatusRow] = response["components"]
    return rows


def _wait_for_state(layout: Layout, name: str, states: set[State], *, timeout_s: float) -> StatusRow:
    row: StatusRow = {}

    def is_reached() -> bool:
        nonlocal row
        (row,) = (each for each in status(layout) if each["name"] == name)
        return row["state"] in states

    wait_until(is_reached, deadline_s=timeout_s, description=f"{name} is not {' or '.join(sorted(states))}")
    return row


def _relay_output_until_ready(layout: Layout, process: "subprocess.Popen[bytes]", console: Console) -> bool:
    """Print the sandbox's output as it appears; return whether it became ready before it exited."""
    with layout.sandbox_log.open(encoding="utf-8", errors="replace") as output:
        while True:
            has_exited = process.poll() is not None  # checked before reading, so that its last lines are printed
            for line in output.readlines():
                console.line(line.rstrip("\n"))
                if line.startswith("ready "):
                    return True
            if has_exited:
                return False
            time.sleep(0.05)  # until it is ready or exits: nothing signals that a file has grown
