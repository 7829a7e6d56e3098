"""Exit codes and error lines of commands, and their tables."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import typer
from aiokafka.errors import InvalidReplicationFactorError, TopicAuthorizationFailedError
from rich.table import Table

from services.chassis.runtime.errors import UnavailableError
from services.cli.runtime import command, print_table


async def refused() -> None:
    raise UnavailableError("Kafka") from TopicAuthorizationFailedError("a secret of the broker's")


async def unavailable() -> None:
    raise UnavailableError("Kafka")


async def too_many_replicas() -> None:
    raise InvalidReplicationFactorError("topic orders: only 1 broker is there")


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (refused, "Kafka is unavailable (TopicAuthorizationFailedError)\n"),
        (unavailable, "Kafka is unavailable\n"),
        (too_many_replicas, "[Error 38] InvalidReplicationFactorError: topic orders: only 1 broker is there\n"),
    ],
)
def test_what_the_brokers_refuse_is_told(
    work: Callable[[], Coroutine[Any, Any, None]], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as exit_info:
        command(work)()
    assert exit_info.value.exit_code == 1
    assert capsys.readouterr().err == message


def test_who_interrupts_a_command_is_told_by_its_exit_code() -> None:
    async def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(typer.Exit) as exit_info:
        command(interrupted)()
    assert exit_info.value.exit_code == 130


NAME = "fulfilment.transactions.v1.dlq/11/1234567"


def a_table() -> Table:
    table = Table("letter", "detail", "from")
    table.add_row(NAME, "the first byte is not zero " * 3, NAME)
    return table


def test_a_table_in_a_pipe_has_every_cell_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(a_table())
    assert capsys.readouterr().out.count(NAME) == 2


def test_on_a_narrow_screen_cells_are_folded_and_nothing_is_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    print_table(a_table())
    lines = [line for line in capsys.readouterr().out.splitlines() if "│" in line]
    assert max(map(len, lines)) <= 60
    assert "".join(line.split("│")[1].strip() for line in lines) == NAME
    assert not any("…" in line for line in lines)
