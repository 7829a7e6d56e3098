"""What a sandbox consists of."""

import io
from pathlib import Path

import pytest
from rich.console import Console as RichConsole

from sandbox.components import SERVICE_NAMES, STOP_ORDER, build_sandbox
from sandbox.console import Console
from sandbox.layout import Layout


def test_servers_of_somebody_else_are_used_and_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell that evaluated `sandbox env` still names those servers after that sandbox has stopped."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka.example:9092")
    monkeypatch.setenv("MONGODB_URI", "mongodb://user:s3cret@mongodb.example/?replicaSet=rs0")
    layout, output = Layout(tmp_path), io.StringIO()
    layout.create()
    sandbox = build_sandbox(layout, port=0, console=Console(RichConsole(file=output, width=200)))
    assert [each.name for each in sandbox.components] == ["gateway", *SERVICE_NAMES]
    assert sandbox.before_services == ["gateway"]
    assert sandbox.environment.kafka_bootstrap_servers == "kafka.example:9092"
    assert output.getvalue().splitlines() == [
        "using the Kafka of KAFKA_BOOTSTRAP_SERVERS",
        "using the MongoDB of MONGODB_URI",
    ]


def test_the_front_door_goes_first_and_the_servers_last() -> None:
    """Draining needs them."""
    assert STOP_ORDER == (("gateway",), SERVICE_NAMES, ("kafka", "mongodb"))
