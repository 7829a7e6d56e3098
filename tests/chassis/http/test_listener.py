"""New connections are accepted few at a time, all of them in the end, and also after a lack of file descriptors."""

import asyncio
import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from services.chassis.http import listener as chassis_listener
from services.chassis.http.listener import MAX_ACCEPTS_PER_TURN
from tests.chassis.eventually import until
from tests.chassis.http.server_fixtures import listening

GET = b"GET /things/1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
CLIENTS = 40


@contextmanager
def clients(address: str, count: int) -> Iterator[list[socket.socket]]:
    """Connect and send a request, before the event loop has another turn."""
    host, port = address.split(":")
    with ExitStack() as stack:
        connections = [stack.enter_context(socket.create_connection((host, int(port)))) for _ in range(count)]
        for each in connections:
            each.sendall(GET)
        yield connections


async def read_all(connections: list[socket.socket]) -> list[bytes]:
    async def read(connection: socket.socket) -> bytes:
        connection.setblocking(False)  # noqa: FBT003 - the standard library's signature
        return await asyncio.get_running_loop().sock_recv(connection, 1_000)

    async with asyncio.timeout(10):
        return await asyncio.gather(*map(read, connections))


async def test_open_connections_get_their_turns_while_many_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks: forty clients connect at once. What else is to be done is done after every few of them."""
    accepted_at: list[int] = []
    turn = [0]
    async with listening() as site:
        loop = asyncio.get_running_loop()
        connect = loop.connect_accepted_socket

        async def observe(*arguments: Any) -> Any:
            accepted_at.append(turn[0])
            return await connect(*arguments)

        monkeypatch.setattr(loop, "connect_accepted_socket", observe, raising=False)
        with clients(site.address, CLIENTS) as connections:
            while len(accepted_at) < CLIENTS:
                turn[0] += 1
                await asyncio.sleep(0)
            assert max(map(accepted_at.count, accepted_at)) <= MAX_ACCEPTS_PER_TURN
            assert all(answer.startswith(b"HTTP/1.1 200") for answer in await read_all(connections))


async def test_a_stop_accepts_what_waits() -> None:
    """Breaks: SIGTERM, while clients have connected that the process has not noticed yet."""
    async with listening() as site:
        with clients(site.address, CLIENTS) as connections:
            await site.stop()
            assert all(answer.startswith(b"HTTP/1.1 200") for answer in await read_all(connections))


async def test_a_lack_of_file_descriptors_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chassis_listener, "ACCEPT_PAUSE_S", 0.01)
    lacks = [3]
    accept = socket.socket.accept

    def fail_at_first(self: socket.socket) -> Any:
        if lacks[0]:
            lacks[0] -= 1
            raise OSError(errno.EMFILE, "too many open files")
        return accept(self)

    async with listening() as site:
        monkeypatch.setattr(socket.socket, "accept", fail_at_first)
        with clients(site.address, 1) as connections:
            await until(lambda: not lacks[0])
            assert (await read_all(connections))[0].startswith(b"HTTP/1.1 200")
