"""What the keeper of a sandbox's parts tells."""

import io
import signal
from pathlib import Path

from rich.console import Console

from sandbox.child import Child, Program
from sandbox.parts import Part
from sandbox.screen import Screen
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
