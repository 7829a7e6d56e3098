"""What the sandbox's commands say to arguments that they can do nothing with."""

import pytest
from typer.testing import CliRunner

from sandbox.__main__ import application


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("run --port 65536", "Invalid value for '--port'"),
        ("up --port -1", "Invalid value for '--port'"),
        ("logs -n -1", "Invalid value for '-n'"),
        ("demo --base shop.example", "an address is wanted, such as http://127.0.0.1:8080"),
        ("demo --base http://", "an address is wanted"),
        ("demo --base http://127.0.0.1:door", "an address is wanted"),
        ("demo --base http://127.0.0.1:8080/omnichannel", "an address is wanted"),
    ],
)
def test_what_a_command_cannot_do_with_its_arguments_is_told(command: str, told: str) -> None:
    done = CliRunner().invoke(application, command.split())
    assert done.exit_code == 2
    assert told in " ".join(done.output.replace("│", " ").split())
