"""A process's life, seen from outside: ready, a signal, drained, gone with status 0."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any
from urllib.error import HTTPError

import pytest

from services.chassis.runtime.settings import REPOSITORY

SECOND = "second"


@dataclass
class Process:
    """A tiny service and what it has logged."""

    child: "subprocess.Popen[str]"
    logged: list[dict[str, Any]] = field(default_factory=list)

    def until(self, message: str, times: int = 1) -> dict[str, Any]:
        """Read on until this was logged `times` times."""
        assert self.child.stdout is not None
        for text in self.child.stdout:
            self.logged.append(json.loads(text))
            if sum(line["message"] == message for line in self.logged) == times:
                return self.logged[-1]
        raise AssertionError(f"it ended before it logged {message}: {self.logged}")

    def end(self) -> int:
        """Read the rest and return the exit status."""
        assert self.child.stdout is not None
        self.logged += [json.loads(text) for text in self.child.stdout]
        return self.child.wait(15)

    def messages(self, message: str) -> list[Any]:
        return [line.get("what", line.get("component")) for line in self.logged if line["message"] == message]


@contextmanager
def tiny_service(behaviour: str = "", **environment: str) -> Iterator[Process]:
    child = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "tests.chassis.runtime.tiny_service", behaviour],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        env={**os.environ, "OPERATIONS_PORT": "0", "DRAIN_TIMEOUT_S": "5", **environment},
    )
    with child:
        try:
            yield Process(child)
        finally:
            child.kill()


def get(address: str, path: str) -> tuple[int, str]:
    with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as response:
        return response.status, response.read().decode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_status_zero_and_parts_stop_in_reverse_order(number: signal.Signals) -> None:
    with tiny_service() as process:
        operations = process.until("listening")["address"]
        process.until("listening", times=2)
        assert get(operations, "/ready")[0] == 200
        assert get(operations, "/live")[0] == 200
        metrics = get(operations, "/metrics")[1]
        process.child.send_signal(number)
        assert process.end() == 0
        assert process.child.stderr is not None
        assert process.child.stderr.read() == ""
    assert 'build_info{python="3' in metrics
    assert 'service="tiny"' in metrics
    assert "event_loop_delay_seconds_count" in metrics
    assert process.messages("started") == ["first", "second", "third"]
    assert process.messages("stopping") == ["third", "second", "first"]
    assert [line["message"] for line in process.logged][-1] == "stopped"


def test_a_signal_ends_it_while_it_waits_for_what_it_needs_to_be_built() -> None:
    with tiny_service("compose-hangs") as process:
        process.until("composing")
        process.child.send_signal(signal.SIGTERM)
        assert process.end() == 0
    assert process.logged[-1]["message"] == "stopped"


def test_a_second_signal_changes_nothing() -> None:
    with tiny_service() as process:
        process.until("listening", times=2)
        process.child.send_signal(signal.SIGTERM)
        process.until("stopped")
        process.child.send_signal(signal.SIGTERM)
        assert process.end() == 0


def test_its_settings_are_logged_at_start() -> None:
    with tiny_service(LOG_LEVEL="INFO") as process:
        assert process.until("starting")["settings"]["log_level"] == "INFO"


def test_requests_in_flight_end_before_the_process_does() -> None:
    with tiny_service() as process, ThreadPoolExecutor() as threads:
        process.until("listening")
        api = process.until("listening", times=2)["address"]
        held = threads.submit(get, api, "/hold")
        process.until("held")
        get(api, "/release")
        process.child.send_signal(signal.SIGTERM)
        assert held.result(10) == (200, '{"held":true}')
        assert process.end() == 0


def test_while_it_drains_it_is_live_and_not_ready() -> None:
    with tiny_service("stop-hangs", DRAIN_TIMEOUT_S="1") as process:
        operations = process.until("listening")["address"]
        process.until("listening", times=2)
        process.child.send_signal(signal.SIGTERM)
        process.until("stopping", times=2)
        assert get(operations, "/live")[0] == 200
        with pytest.raises(HTTPError) as draining:
            get(operations, "/ready")
        assert draining.value.code == 503
        draining.value.close()
        assert process.end() == 0


def test_a_part_that_fails_to_stop_blocks_no_other() -> None:
    with tiny_service("stop-fails") as process:
        process.until("listening", times=2)
        process.child.send_signal(signal.SIGTERM)
        assert process.end() == 0
    assert process.messages("stopping") == ["third", "second", "first"]
    assert process.messages("component failed to stop") == ["LoggingComponent"]


def test_a_part_that_never_stops_blocks_no_other() -> None:
    with tiny_service("stop-hangs", DRAIN_TIMEOUT_S="0.2") as process:
        process.until("listening", times=2)
        began = monotonic()
        process.child.send_signal(signal.SIGTERM)
        assert process.end() == 0
        assert monotonic() - began < 5
    assert process.messages("stopping") == ["third", "second", "first"]
    assert process.messages("component took too long to stop") == ["LoggingComponent"]


@pytest.mark.parametrize(("behaviour", "stopped"), [("start-fails", ["second", "first"]), ("compose-fails", [])])
def test_what_cannot_start_says_so_and_ends_with_status_one(behaviour: str, stopped: list[str]) -> None:
    with tiny_service(behaviour) as process:
        assert process.end() == 1
    assert process.messages("stopping") == stopped
    assert process.logged[-1]["message"] == "process failed"
    assert "Error" in process.logged[-1]["exception"]


def test_settings_that_are_not_usable_end_it_with_status_two() -> None:
    with tiny_service(OPERATIONS_PORT="x") as process:
        assert process.end() == 2
        assert process.child.stderr is not None
        assert "OPERATIONS_PORT" in process.child.stderr.read()


def test_a_changed_setting_ends_it_with_status_two_after_the_parts_have_stopped() -> None:
    with tiny_service("setting-changed") as process:
        assert process.end() == 2
        assert process.child.stderr is not None
        assert process.child.stderr.read() == (
            "Invalid settings:\n"
            "  CODE_DIGEST_KEY: is not the value that the stored data was written with; restore the old value\n"
        )
    assert process.messages("stopping") == ["third", "second", "first"]
    assert (process.logged[-1]["message"], process.logged[-1]["setting"]) == ("setting changed", "CODE_DIGEST_KEY")
