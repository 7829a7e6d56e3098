"""Connections: they serve many requests, end with the listener, and wait for no slow client."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from services.chassis.http import server as chassis_web
from tests.chassis.eventually import until
from tests.chassis.http.server_fixtures import HELD_REQUESTS, HeldRequest, address, exchange, listening, request_counts

__all__ = ["address"]


async def test_a_connection_serves_many_requests(address: str) -> None:
    get = b"GET /things/%d HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /things/3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    _, _, rest = await exchange(address, get % 1 + get % 2 + last)
    assert rest.count(b"HTTP/1.1 200 OK") == 2
    assert b'"id":"3"' in rest


async def test_stopping_lets_requests_in_flight_end_and_takes_no_more() -> None:
    gate = HELD_REQUESTS["draining"] = HeldRequest()
    async with listening() as listener, aiohttp.ClientSession(f"http://{listener.address}") as session:
        answer = asyncio.create_task(read(session, "/held/draining"))
        await gate.entered.wait()
        address = listener.address
        stopping = asyncio.create_task(listener.stop())
        await until(lambda: refuses(address))
        assert not stopping.done()
        gate.opened.set()
        assert await answer == {"held": True}
        await stopping


async def refuses(address: str) -> bool:
    host, port = address.split(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except ConnectionError:
        return True
    writer.transport.abort()
    return False


async def read(session: aiohttp.ClientSession, path: str) -> Any:
    async with session.get(path) as response:
        return await response.json()


async def test_stopping_waits_no_longer_than_it_may() -> None:
    gate = HELD_REQUESTS["stuck"] = HeldRequest()
    async with listening(drain_s=0.05) as listener, aiohttp.ClientSession(f"http://{listener.address}") as session:
        answer = asyncio.create_task(read(session, "/held/stuck"))
        await gate.entered.wait()
        async with asyncio.timeout(5):
            await listener.stop()
        with pytest.raises(aiohttp.ClientConnectionError):
            await answer


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chassis_web, "REQUEST_HEAD_TIMEOUT_S", 0.1)


@pytest.mark.parametrize("sent", [b"GET", b"GET /things/1 HTTP/1.1\r\nHost", b"GET /things/1 HTTP/1.1\r\nHost: x\r\n"])
@pytest.mark.usefixtures("impatient")
async def test_a_head_that_does_not_end_is_not_waited_for(address: str, sent: bytes) -> None:
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()


@pytest.mark.usefixtures("impatient")
async def test_a_head_that_dribbles_is_not_waited_for(address: str) -> None:
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /things/1 HTTP/1.1\r\n")

    async def dribble() -> None:
        while True:
            writer.write(b"A: b\r\n")
            await asyncio.sleep(0.01)

    dribbling = asyncio.create_task(dribble())
    async with asyncio.timeout(5):
        with suppress(ConnectionError):
            assert await reader.read() == b""
    dribbling.cancel()
    writer.transport.abort()


@pytest.mark.usefixtures("impatient")
async def test_a_client_that_takes_no_answer_is_let_go(address: str) -> None:
    before = request_counts("/large").get(("GET", "200"), 0)
    host, port = address.split(":")
    _, writer = await asyncio.open_connection(host, int(port), limit=1)
    assert serves(port)
    writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    await until(lambda: request_counts("/large").get(("GET", "200"), 0) > before)
    await until(lambda: not serves(port))
    writer.transport.abort()


def serves(port: str) -> bool:
    """Whether a connection of this port is established, as the kernel sees it."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    return any(row[1].endswith(f":{int(port):04X}") and row[3] == "01" for row in rows)
