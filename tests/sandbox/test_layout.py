"""A sandbox's directory: accessible by its owner only, and stable between runs."""

import json
import socket
from pathlib import Path

import pytest

from sandbox import layout as layouts
from sandbox.layout import SECRETS, Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / "sandbox")
    made.create()
    return made


def test_nobody_else_may_read_it(layout: Layout) -> None:
    layout.secrets()
    assert layout.root.stat().st_mode & 0o777 == 0o700
    assert (layout.root / "secrets.json").stat().st_mode & 0o777 == 0o600


def test_keys_are_drawn_once_and_one_that_came_later_leaves_the_others_as_they_are(layout: Layout) -> None:
    first = layout.secrets()
    assert set(first) == set(SECRETS)
    assert len(set(first.values())) == len(SECRETS)
    assert layout.secrets() == first
    older = dict(list(first.items())[1:])
    (layout.root / "secrets.json").write_text(json.dumps(older))
    now = layout.secrets()
    assert set(now) == set(SECRETS)
    assert older.items() <= now.items()


def test_ports_are_those_of_last_time_but_for_one_that_somebody_took(layout: Layout) -> None:
    counts = {"kafka": 2, "mongodb": 1}
    first = layout.allocate_ports(counts)
    assert [len(ports) for ports in first.values()] == [2, 1]
    assert layout.allocate_ports(counts) == first
    with socket.create_server(("127.0.0.1", first["mongodb"][0])):
        second = layout.allocate_ports(counts)
    assert second["kafka"] == first["kafka"]
    assert second["mongodb"] != first["mongodb"]


def test_no_port_is_given_twice(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter([20_001, 20_001, 20_002, 20_001, 20_003])
    monkeypatch.setattr(layouts, "free_port", lambda: next(drawn))
    assert layout.allocate_ports({"auth": 2, "ingest": 1}) == {"auth": [20_001, 20_002], "ingest": [20_003]}


def test_each_run_starts_with_empty_logs_but_for_what_the_sandbox_says_itself(layout: Layout) -> None:
    for log in (layout.sandbox_log, layout.log("auth")):
        log.write_text("before\n")
    layout.delete_service_logs()
    assert layout.sandbox_log.exists()
    assert not layout.log("auth").exists()
