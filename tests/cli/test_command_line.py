"""Invalid arguments are reported before anything is opened."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.__main__ import app


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("sites show 99999999999999999999", "Invalid value for 'site'"),
        ("clients add-secret shop --grace-hours 10000", "Invalid value for '--grace-hours'"),
        ("clients add-secret shop --grace-hours inf", "Invalid value for '--grace-hours'"),
        ("clients add-secret shop --grace-hours nan", "Invalid value for '--grace-hours'"),
        ("clients change shop", "give at least one of"),
        ("clients change shop --scope status:read --no-scopes", "either --scope or --no-scopes"),
        (
            "dead-letters list --topic orders",
            "orders has no dead letters; topics that have: orders.submitted.v1, returns",
        ),
        ("dead-letters replay --topic orders.submitted.v1.dlq", "orders.submitted.v1.dlq has no dead letters"),
        ("sites add DIRECTORY", "is a directory"),
        ("init --tenants DIRECTORY", "is a directory"),
        ("init --catalogue DIRECTORY", "is a directory"),
        ("init --stock DIRECTORY", "is a directory"),
        ("catalog load DIRECTORY", "is a directory"),
        ("fulfilment products put DIRECTORY", "is a directory"),
        ("fulfilment stock load CARD DIRECTORY", "is a directory"),
        ("decode --file DIRECTORY", "is a directory"),
    ],
)
def test_what_a_command_cannot_do_with_its_arguments_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str, message: str
) -> None:
    for server in ("MONGODB_URI", "KAFKA_BOOTSTRAP_SERVERS"):
        monkeypatch.setenv(server, "unused")
    result = CliRunner().invoke(app, command.replace("DIRECTORY", str(tmp_path)).split())
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())
