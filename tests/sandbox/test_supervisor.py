"""The supervisor: reported exits, and components that are dead but running."""

import io
import signal
from pathlib import Path

import pytest
from rich.console import Console as RichConsole

from sandbox import supervisor as supervisors
from sandbox.components import Component
from sandbox.console import Console
from sandbox.process import ManagedProcess, Program
from sandbox.state import State
from sandbox.supervisor import Supervisor
from tests.chassis.eventually import until


async def test_an_end_is_told_though_the_component_is_started_again_at_once(tmp_path: Path) -> None:
    process = ManagedProcess(Program(name="it", command=["sleep", "60"], log=tmp_path / "it.log"))
    component = Component(name="it", process=process, launch=process.launch, is_ready=lambda: True, addresses={})
    output = io.StringIO()
    supervisor = Supervisor([component], Console(RichConsole(file=output)))
    try:
        await supervisor.start_all(["it"])
        process.signal(signal.SIGKILL)
        await until(lambda: not process.is_running)
        supervisor.request_start("it")
        assert "it exited with code -9\n" in output.getvalue()
    finally:
        supervisor.kill_all()


async def test_a_component_that_is_given_up_for_dead_but_runs_can_be_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For example a service whose database is unavailable: it listens, but does not become ready in time."""
    monkeypatch.setattr(supervisors, "READY_TIMEOUT_S", 0.0)
    process = ManagedProcess(Program(name="it", command=["sleep", "60"], log=tmp_path / "it.log"))
    component = Component(name="it", process=process, launch=process.launch, is_ready=lambda: False, addresses={})
    supervisor = Supervisor([component], Console(RichConsole(file=io.StringIO())))
    try:
        supervisor.request_start("it")
        await until(lambda: component.state is State.DEAD)
        supervisor.request_stop("it")
        await until(lambda: component.state is State.STOPPED)
        assert not process.is_running
    finally:
        supervisor.kill_all()
