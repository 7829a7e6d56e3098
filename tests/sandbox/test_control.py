"""Orders to a running sandbox, and who may run one."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sandbox import commands
from sandbox.commands import Failed
from sandbox.control import AlreadyRunning, NotRunning, Order, is_running, listening, send, sole_owner
from sandbox.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    # Longer than a socket's address may be.
    made = Layout(tmp_path / ("sandbox" * 20))
    made.create()
    return made


def test_only_one_runs_in_a_directory_and_its_data_is_not_removed_meanwhile(layout: Layout) -> None:
    with sole_owner(layout):
        assert is_running(layout)
        with pytest.raises(AlreadyRunning), sole_owner(layout):
            pass
        with pytest.raises(AlreadyRunning, match="stop it first"):
            commands.clean(layout)
        assert layout.root.exists()
    assert not is_running(layout)
    commands.clean(layout)
    assert not layout.root.exists()
    commands.clean(layout)


def test_where_none_runs_that_is_told(layout: Layout, tmp_path: Path) -> None:
    for nowhere in (layout, Layout(tmp_path / "nowhere")):
        with pytest.raises(NotRunning, match="No sandbox is running in"):
            send(nowhere, {"do": "status"})


def answering(*states: str) -> Callable[[Order], Order]:
    """A sandbox with one part, which has one state after the other; `nothing` is no part of it."""
    left = list(states)

    def answer(order: Order) -> Order:
        if order["name"] == "nothing":
            return {"refused": "there is no nothing"}
        state = left.pop(0) if order["do"] == "status" else "starting"
        return {"parts": [{"name": "auth", "state": state, "pid": 1}]}

    return answer


async def test_an_order_is_carried_out_when_it_returns(layout: Layout) -> None:
    async with listening(layout, answering("starting", "starting", "ready", "stopping", "stopped")):
        started: dict[str, Any] = await asyncio.to_thread(commands.start, layout, "auth")
        stopped: dict[str, Any] = await asyncio.to_thread(commands.stop, layout, "auth")
    assert (started["state"], stopped["state"]) == ("ready", "stopped")


@pytest.mark.parametrize(
    ("name", "why"),
    [("nothing", "there is no nothing"), ("auth", "auth did not start: see `python -m sandbox logs auth`")],
)
async def test_an_order_that_is_refused_or_comes_to_nothing_is_told(layout: Layout, name: str, why: str) -> None:
    async with listening(layout, answering("starting", "dead")):
        with pytest.raises(Failed) as told:
            await asyncio.to_thread(commands.start, layout, name)
    assert str(told.value) == why
