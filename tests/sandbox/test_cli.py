"""The sandbox's command line, with stub services and without servers."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.polling import wait_until
from sandbox.ports import free_port
from sandbox.probes import http_status
from tests.sandbox.stub_checkout import StubCheckout, build_stub_checkout

pytestmark = pytest.mark.long


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[StubCheckout]:
    made = build_stub_checkout(tmp_path / "checkout", kafka="127.0.0.1:1", mongodb="mongodb://127.0.0.1:1")
    yield made
    made.kill_everything()


def wait_for(condition: Callable[[], bool], description: str) -> None:
    wait_until(condition, deadline_s=15, description=description)


def wait_for_ready_line(process: Any) -> str:
    for line in process.stdout:
        if line.startswith("ready "):
            return str(line).strip()
    raise AssertionError("it exited before it was ready")


def test_up_returns_when_all_is_ready_and_parts_come_and_go_at_their_address(checkout: StubCheckout) -> None:
    port = free_port()
    output = checkout.command("up", "--port", str(port))
    assert f"ready http://127.0.0.1:{port}" in output.splitlines()
    assert "already running" in checkout.command("up", "--port", str(free_port()), code=1)

    before = checkout.status()
    assert set(before) == {
        "gateway",
        "auth",
        "ingest",
        "validator",
        "status",
        "fulfilment",
        "ledger",
        "webhooks",
        "operator",
        "portal",
    }
    assert {row["state"] for row in before.values()} == {"ready"}

    os.kill(before["validator"]["pid"], signal.SIGKILL)
    wait_for(lambda: checkout.status()["validator"]["state"] == "dead", "a killed service is reported, not restarted")
    checkout.command("start", "validator")
    checkout.command("stop", "ingest")
    assert http_status(f"http://127.0.0.1:{port}/omnichannel/x") == 503
    checkout.command("start", "ingest")
    after = checkout.status()
    assert {row["state"] for row in after.values()} == {"ready"}
    assert after["validator"]["pid"] != before["validator"]["pid"]
    assert {name: row["addresses"] for name, row in after.items()} == {
        name: row["addresses"] for name, row in before.items()
    }
    assert "no such component: nothing" in checkout.command("stop", "nothing", code=1)

    assert "Orders #4: HTTP status is 200, should be 202" in checkout.command("demo", code=1)
    assert f"AUTH_PUBLIC_URL=http://127.0.0.1:{port}" in checkout.command("env")
    assert "loaded init --tenants" in checkout.command("logs", "init")

    checkout.command("down")
    assert checkout.processes() == []
    assert json.loads(checkout.command("status", "--json", code=1).splitlines()[0]) == []


def test_ctrl_c_to_the_whole_group_stops_everything_and_the_next_run_finds_its_data(checkout: StubCheckout) -> None:
    secrets = checkout.root / ".sandbox" / "secrets.json"
    runs = []
    for _ in range(2):
        process = checkout.start("run", "--port", str(free_port()))
        wait_for_ready_line(process)
        runs.append((secrets.read_bytes(), checkout.status()["auth"]["addresses"]))
        os.killpg(process.pid, signal.SIGINT)
        rest, _ = process.communicate(timeout=20)
        assert process.returncode == 0
        assert rest.splitlines()[-1] == "stopped"
        assert checkout.processes() == []
    assert runs[0] == runs[1]
    assert secrets.stat().st_mode & 0o777 == 0o600


def test_a_supervisor_that_is_killed_leaves_nothing_behind(checkout: StubCheckout) -> None:
    process = checkout.start("run", "--port", str(free_port()))
    wait_for_ready_line(process)
    assert len(checkout.processes()) > 1
    process.kill()
    process.communicate(timeout=20)
    wait_for(lambda: checkout.processes() == [], "its programs die with it")
    assert "No sandbox is running" in checkout.command("status", code=1)


def test_a_service_that_cannot_start_is_reported_with_the_end_of_its_log(checkout: StubCheckout) -> None:
    (checkout.root / "services" / "status.py").write_text("raise SystemExit('no such luck')\n", encoding="utf-8")
    output = checkout.command("up", "--port", str(free_port()), code=1)
    assert "status exited with code 1" in output
    assert "no such luck" in output
    assert checkout.processes() == []


def test_two_sandboxes_run_side_by_side_but_not_on_one_port(checkout: StubCheckout) -> None:
    second = StubCheckout(checkout.root, {**checkout.servers, "SANDBOX_DIR": str(checkout.root / "second")})
    port = free_port()
    checkout.command("up", "--port", str(port))
    output = second.command("run", "--port", str(port), code=1)
    assert f"Port {port} is in use" in output
    assert "Traceback" not in output

    second.command("up", "--port", str(free_port()))
    addresses = [str(row["addresses"]) for one in (checkout, second) for row in one.status().values()]
    assert len(addresses) == len(set(addresses))
    for one in (checkout, second):
        one.command("down")
    assert checkout.processes() == []
