"""Messages to a running sandbox, and the lock on its directory."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sandbox import client
from sandbox.control_socket import Message, exclusive_lock, is_running, send, serve_requests
from sandbox.errors import AlreadyRunningError, CommandFailedError, NotRunningError
from sandbox.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    # Longer than the maximum length of a Unix socket's address.
    made = Layout(tmp_path / ("sandbox" * 20))
    made.create()
    return made


def test_only_one_runs_in_a_directory_and_its_data_is_not_removed_meanwhile(layout: Layout) -> None:
    with exclusive_lock(layout):
        assert is_running(layout)
        with pytest.raises(AlreadyRunningError), exclusive_lock(layout):
            pass
        with pytest.raises(AlreadyRunningError, match="stop it first"):
            client.clean(layout)
        assert layout.root.exists()
    assert not is_running(layout)
    client.clean(layout)
    assert not layout.root.exists()
    client.clean(layout)


def test_where_none_runs_that_is_told(layout: Layout, tmp_path: Path) -> None:
    for nowhere in (layout, Layout(tmp_path / "nowhere")):
        with pytest.raises(NotRunningError, match="No sandbox is running in"):
            send(nowhere, {"do": "status"})


def respond_with_states(*states: str) -> Callable[[Message], Message]:
    """Handle requests like a sandbox with one component, `auth`, which goes through these states."""
    left = list(states)

    def handle(request: Message) -> Message:
        if request["name"] == "nothing":
            return {"refused": "no such component: nothing"}
        state = left.pop(0) if request["do"] == "status" else "starting"
        return {"components": [{"name": "auth", "state": state, "pid": 1}]}

    return handle


async def test_an_order_is_carried_out_when_it_returns(layout: Layout) -> None:
    async with serve_requests(layout, respond_with_states("starting", "starting", "ready", "stopping", "stopped")):
        started: dict[str, Any] = await asyncio.to_thread(client.start, layout, "auth")
        stopped: dict[str, Any] = await asyncio.to_thread(client.stop, layout, "auth")
    assert (started["state"], stopped["state"]) == ("ready", "stopped")


@pytest.mark.parametrize(
    ("name", "reason"),
    [("nothing", "no such component: nothing"), ("auth", "auth did not start: see `python -m sandbox logs auth`")],
)
async def test_an_order_that_is_refused_or_comes_to_nothing_is_told(layout: Layout, name: str, reason: str) -> None:
    async with serve_requests(layout, respond_with_states("starting", "dead")):
        with pytest.raises(CommandFailedError) as failed:
            await asyncio.to_thread(client.start, layout, name)
    assert str(failed.value) == reason
