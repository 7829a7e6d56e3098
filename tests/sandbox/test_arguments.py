"""How the sandbox's commands reject invalid arguments."""

import pytest
from typer.testing import CliRunner

from sandbox.__main__ import application


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("run --port 65536", "Invalid value for '--port'"),
        ("up --port -1", "Invalid value for '--port'"),
        ("logs -n -1", "Invalid value for '-n'"),
        ("demo --base shop.example", "not a base URL such as http://127.0.0.1:8080"),
        ("demo --base http://", "not a base URL"),
        ("demo --base http://127.0.0.1:door", "not a base URL"),
        ("demo --base http://127.0.0.1:8080/omnichannel", "not a base URL"),
    ],
)
def test_what_a_command_cannot_do_with_its_arguments_is_told(command: str, message: str) -> None:
    done = CliRunner().invoke(application, command.split())
    assert done.exit_code == 2
    assert message in " ".join(done.output.replace("│", " ").split())
