"""How a command ends: in a line, which names what is known of the reason."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import typer
from aiokafka.errors import InvalidReplicationFactorError, TopicAuthorizationFailedError

from services.chassis.runtime.errors import UnavailableError
from services.cli.run_command import told


async def refused() -> None:
    raise UnavailableError("Kafka") from TopicAuthorizationFailedError("a secret of the broker's")


async def silent() -> None:
    raise UnavailableError("Kafka")


async def too_many_replicas() -> None:
    raise InvalidReplicationFactorError("topic orders: only 1 broker is there")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (refused, "Kafka is away (TopicAuthorizationFailedError)\n"),
        (silent, "Kafka is away\n"),
        (too_many_replicas, "[Error 38] InvalidReplicationFactorError: topic orders: only 1 broker is there\n"),
    ],
)
def test_what_the_brokers_refuse_is_told(
    command: Callable[[], Coroutine[Any, Any, None]], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended:
        told(command())
    assert ended.value.exit_code == 1
    assert capsys.readouterr().err == said


def test_who_interrupts_a_command_is_told_by_its_exit_code() -> None:
    async def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(typer.Exit) as ended:
        told(interrupted())
    assert ended.value.exit_code == 130
