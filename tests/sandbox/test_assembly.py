"""What a sandbox is put together from."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from sandbox.components import SERVICE_NAMES, STOPPING_ORDER, assemble
from sandbox.layout import Layout
from sandbox.screen import Screen


def test_servers_of_somebody_else_are_used_and_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell that was told of a sandbox (`env`) names the servers of one that may be gone."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka.example:9092")
    monkeypatch.setenv("MONGODB_URI", "mongodb://user:s3cret@mongodb.example/?replicaSet=rs0")
    layout, said = Layout(tmp_path), io.StringIO()
    layout.create()
    assembly = assemble(layout, port=0, screen=Screen(Console(file=said, width=200)))
    assert [part.name for part in assembly.parts] == ["front", *SERVICE_NAMES]
    assert assembly.foundation == ["front"]
    assert assembly.world.kafka_bootstrap_servers == "kafka.example:9092"
    assert said.getvalue().splitlines() == [
        "using the Kafka that KAFKA_BOOTSTRAP_SERVERS names",
        "using the MongoDB that MONGODB_URI names",
    ]


def test_the_front_door_goes_first_and_the_servers_last() -> None:
    """Draining needs them."""
    assert STOPPING_ORDER == (("front",), SERVICE_NAMES, ("kafka", "mongodb"))
