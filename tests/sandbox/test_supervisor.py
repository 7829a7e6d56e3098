"""What the keeper of a sandbox's parts tells."""

import io
import signal
from pathlib import Path

import pytest
from rich.console import Console

from sandbox import supervisor as keeping
from sandbox.child import Child, Program
from sandbox.parts import Part
from sandbox.screen import Screen
from sandbox.state import State
from sandbox.supervisor import Supervisor
from tests.chassis.eventually import until


async def test_an_end_is_told_though_the_part_is_started_again_at_once(tmp_path: Path) -> None:
    child = Child(Program(name="it", command=["sleep", "60"], log=tmp_path / "it.log"))
    part = Part(name="it", child=child, launch=child.launch, settle=lambda: True, addresses={})
    said = io.StringIO()
    supervisor = Supervisor([part], Screen(Console(file=said)))
    try:
        await supervisor.start_all(["it"])
        child.signal(signal.SIGKILL)
        await until(lambda: not child.is_running)
        supervisor.order_start("it")
        assert "it ended with exit code -9\n" in said.getvalue()
    finally:
        supervisor.kill_all()


async def test_a_part_that_is_given_up_for_dead_but_runs_can_be_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service whose database is away, for one: it listens, and is not ready within the time that it has."""
    monkeypatch.setattr(keeping, "SECONDS_TO_SETTLE", 0.0)
    child = Child(Program(name="it", command=["sleep", "60"], log=tmp_path / "it.log"))
    part = Part(name="it", child=child, launch=child.launch, settle=lambda: False, addresses={})
    supervisor = Supervisor([part], Screen(Console(file=io.StringIO())))
    try:
        supervisor.order_start("it")
        await until(lambda: part.state is State.DEAD)
        supervisor.order_stop("it")
        await until(lambda: part.state is State.STOPPED)
        assert not child.is_running
    finally:
        supervisor.kill_all()
