"""The sandbox as a person uses it, with stub services and servers that need not be there."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.ports import free_port
from sandbox.probes import http_status
from sandbox.waiting import until
from tests.sandbox.machine import Machine, a_machine

pytestmark = pytest.mark.long


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = a_machine(tmp_path / "machine", kafka="127.0.0.1:1", mongodb="mongodb://127.0.0.1:1")
    yield made
    made.kill_everything()


def soon(condition: Callable[[], bool], what: str) -> None:
    until(condition, deadline_s=15, what=what)


def ready_line(process: Any) -> str:
    for line in process.stdout:
        if line.startswith("ready "):
            return str(line).strip()
    raise AssertionError("it ended before it was ready")


def test_up_returns_when_all_is_ready_and_parts_come_and_go_at_their_address(machine: Machine) -> None:
    port = free_port()
    said = machine.command("up", "--port", str(port))
    assert f"ready http://127.0.0.1:{port}" in said.splitlines()
    assert "already running" in machine.command("up", "--port", str(free_port()), code=1)

    before = machine.status()
    assert set(before) == {"front", "auth", "ingest", "validator", "status", "fulfilment"}
    assert {row["state"] for row in before.values()} == {"ready"}

    os.kill(before["validator"]["pid"], signal.SIGKILL)
    soon(lambda: machine.status()["validator"]["state"] == "dead", "a killed service is reported, not restarted")
    machine.command("start", "validator")
    machine.command("stop", "ingest")
    assert http_status(f"http://127.0.0.1:{port}/omnichannel/x") == 503
    machine.command("start", "ingest")
    after = machine.status()
    assert {row["state"] for row in after.values()} == {"ready"}
    assert after["validator"]["pid"] != before["validator"]["pid"]
    assert {name: row["addresses"] for name, row in after.items()} == {
        name: row["addresses"] for name, row in before.items()
    }
    assert "there is no nothing" in machine.command("stop", "nothing", code=1)

    assert "Orders #4: HTTP status is 200, should be 202" in machine.command("demo", code=1)
    assert f"AUTH_PUBLIC_URL=http://127.0.0.1:{port}" in machine.command("env")
    assert "loaded init --tenants" in machine.command("logs", "init")

    machine.command("down")
    assert machine.processes() == []
    assert json.loads(machine.command("status", "--json", code=1).splitlines()[0]) == []


def test_ctrl_c_to_the_whole_group_stops_everything_and_the_next_run_finds_its_data(machine: Machine) -> None:
    secrets = machine.root / ".sandbox" / "secrets.json"
    kept = []
    for _ in range(2):
        process = machine.start("run", "--port", str(free_port()))
        ready_line(process)
        kept.append((secrets.read_bytes(), machine.status()["auth"]["addresses"]))
        os.killpg(process.pid, signal.SIGINT)
        rest, _ = process.communicate(timeout=20)
        assert process.returncode == 0
        assert rest.splitlines()[-1] == "stopped"
        assert machine.processes() == []
    assert kept[0] == kept[1]
    assert secrets.stat().st_mode & 0o777 == 0o600


def test_a_supervisor_that_is_killed_leaves_nothing_behind(machine: Machine) -> None:
    process = machine.start("run", "--port", str(free_port()))
    ready_line(process)
    assert len(machine.processes()) > 1
    process.kill()
    process.communicate(timeout=20)
    soon(lambda: machine.processes() == [], "its programs die with it")
    assert "No sandbox is running" in machine.command("status", code=1)


def test_a_service_that_cannot_start_is_reported_with_the_end_of_its_log(machine: Machine) -> None:
    (machine.root / "services" / "status.py").write_text("raise SystemExit('no such luck')\n", encoding="utf-8")
    said = machine.command("up", "--port", str(free_port()), code=1)
    assert "status ended with exit code 1" in said
    assert "no such luck" in said
    assert machine.processes() == []


def test_two_sandboxes_run_side_by_side_but_not_on_one_port(machine: Machine) -> None:
    second = Machine(machine.root, {**machine.servers, "SANDBOX_DIR": str(machine.root / "second")})
    port = free_port()
    machine.command("up", "--port", str(port))
    said = second.command("run", "--port", str(port), code=1)
    assert f"Port {port} is taken" in said
    assert "Traceback" not in said

    second.command("up", "--port", str(free_port()))
    addresses = [str(row["addresses"]) for one in (machine, second) for row in one.status().values()]
    assert len(addresses) == len(set(addresses))
    for one in (machine, second):
        one.command("down")
    assert machine.processes() == []
