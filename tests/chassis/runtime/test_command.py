"""A command ends in a line that names what is known of the reason, and in an exit status."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import typer

from services.chassis.runtime.command import async_command
from services.chassis.runtime.errors import ChangedSettingError, UnavailableError


class BrokerError(Exception):
    """A driver's error; its words may quote a secret."""


async def refused() -> None:
    raise UnavailableError("Kafka") from BrokerError("a secret of the broker's")


async def silent() -> None:
    raise UnavailableError("Kafka")


async def replaced() -> None:
    raise ChangedSettingError("A_KEY")


async def mistaken() -> None:
    raise ValueError("line 2: the pin is too long")


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (refused, "Kafka is unavailable (BrokerError)\n"),
        (silent, "Kafka is unavailable\n"),
        (replaced, "A_KEY: is not the value that the stored data was written with; restore the old value\n"),
        (mistaken, "line 2: the pin is too long\n"),
    ],
)
def test_an_expected_error_is_one_line(
    command: Callable[[], Coroutine[Any, Any, None]], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended:
        async_command(ValueError)(command)()
    assert (ended.value.exit_code, capsys.readouterr().err) == (1, line)


def test_any_other_error_is_a_defect_with_its_traceback() -> None:
    with pytest.raises(ValueError, match="too long"):
        async_command(KeyError)(mistaken)()


def test_an_interrupted_command_has_its_own_exit_status() -> None:
    async def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(typer.Exit) as ended:
        async_command()(interrupted)()
    assert ended.value.exit_code == 130


def test_a_command_gets_its_arguments() -> None:
    called: list[tuple[int, str]] = []

    @async_command()
    async def command(number: int, *, name: str) -> None:
        called.append((number, name))

    command(42, name="it")
    assert called == [(42, "it")]
