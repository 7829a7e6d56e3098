"""Connections: they serve many requests, end with the listener, and wait for no slow client."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvloop
from structlog.testing import LogCapture

from services.chassis.http import protocol
from services.chassis.http.listener import MAX_HEAD_READ_BYTES
from tests.chassis.eventually import until
from tests.chassis.http.server_fixtures import (
    HELD_REQUESTS,
    HeldRequest,
    address,
    exchange,
    listening,
    logged,
    request_counts,
)

__all__ = ["address", "logged"]


async def test_a_connection_serves_many_requests(address: str) -> None:
    get = b"GET /things/%d HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /things/3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    _, _, rest = await exchange(address, get % 1 + get % 2 + last)
    assert rest.count(b"HTTP/1.1 200 OK") == 2
    assert b'"id":"3"' in rest


POST = b"POST /things HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "answers"),
    [
        (b"GET /things/1 HTTP/1.1\r\nHost: x\r\n\r\n", 1),
        (POST % 4 + b"body", 1),
        (b"POST /things HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", 1),
        (b"GET /things/1 HTTP/1.1\r\nHost: x\r\n\r\n" * 2 + POST % 4 + b"body", 3),
    ],
    ids=["no body", "body", "chunks", "pipelined"],
)
async def test_a_client_that_sends_no_more_gets_its_answers(address: str, sent: bytes, answers: int) -> None:
    """`nc -N` and `socat` close the sending side after the request and read until the end."""
    received = await exchange_half_closed(address, sent)
    assert received.count(b"HTTP/1.1 20") == received.count(b"HTTP/1.1 ") == answers


async def test_a_client_that_sends_no_more_is_answered_late(address: str) -> None:
    gate = HELD_REQUESTS["half-closed"] = HeldRequest()
    answer = asyncio.create_task(exchange_half_closed(address, b"GET /held/half-closed HTTP/1.1\r\nHost: x\r\n\r\n"))
    await gate.entered.wait()
    await until(lambda: has_connection(address.split(":")[1], in_state="08"))  # CLOSE_WAIT
    gate.opened.set()
    assert b'{"held":true}' in await answer


@pytest.mark.parametrize(
    "sent",
    [
        POST % 9 + b"half",
        POST % 9,
        b"POST /things HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nha",
    ],
    ids=["short", "none", "chunk"],
)
async def test_a_body_shorter_than_declared_is_the_clients_mistake(
    address: str, sent: bytes, logged: LogCapture
) -> None:
    received = await exchange_half_closed(address, sent)
    assert received.startswith(b"HTTP/1.1 400 ")
    assert b"Retry-After" not in received
    assert [entry for entry in logged.entries if entry["log_level"] in {"error", "critical"}] == []


@pytest.mark.parametrize("sent", [b"", b"GET /things/1 HTTP/1.1\r\nHos"], ids=["nothing", "half a head"])
async def test_a_client_that_sends_no_more_before_a_request_is_disconnected(address: str, sent: bytes) -> None:
    assert await exchange_half_closed(address, sent) == b""


async def test_an_idle_connection_ends_with_the_client(address: str) -> None:
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /things/1 HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(5):
        await reader.readuntil(b"}")
        writer.write_eof()
        assert await reader.read() == b""
    writer.close()


@pytest.fixture
def slow_to_continue(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a response, the connection goes on only when its client has closed its sending side."""
    finish_response = protocol._Protocol.finish_response

    async def finish_and_wait(self: Any, *arguments: Any) -> Any:
        result = await finish_response(self, *arguments)
        await until(lambda: self._half_closed)
        return result

    monkeypatch.setattr(protocol._Protocol, "finish_response", finish_and_wait)


@pytest.mark.usefixtures("slow_to_continue")
@pytest.mark.parametrize("body", [b"half", b""], ids=["half", "none"])
async def test_a_client_that_leaves_as_it_gets_its_response_is_disconnected(address: str, body: bytes) -> None:
    """Breaks: the end of the stream arrives between the response and the wait for another request.

    The connection must not wait, or an overloaded server keeps thousands, with the bodies that nobody read, until
    they have been idle for long.
    """
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n" + body)
    async with asyncio.timeout(5):
        await reader.readuntil(b"}")
        writer.write_eof()
        assert await reader.read() == b""
    writer.close()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_body_is_not_read_ahead_of_its_handler(run: Callable[[Any], None]) -> None:
    """I8. Breaks: thousands of clients send bodies to a process that is too busy to refuse them."""
    run(send_a_body_that_is_not_read())


async def send_a_body_that_is_not_read() -> None:
    async with listening() as listener:
        await check_read_ahead(listener.address)


async def check_read_ahead(address: str) -> None:
    gate = HELD_REQUESTS["unread"] = HeldRequest()
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /held/unread HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\n\r\n" + bytes(8_000_000))
    await gate.entered.wait()
    request = gate.request
    assert request is not None
    await until(lambda: request.protocol._reading_paused)
    assert request.content.total_bytes <= MAX_HEAD_READ_BYTES
    gate.opened.set()
    assert b" 200 " in await reader.readline()
    writer.transport.abort()


CHUNKED = b"POST /things HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
# With the last of them, aiohttp's parser pauses, which shows only when it parses more.
PAUSING_CHUNKS = b"1\r\nx\r\n" * (protocol.READ_AHEAD_BYTES // 16 + 1)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
@pytest.mark.parametrize("rest", [b"4\r\nrest\r\n", b""], ids=["more", "no more"])
def test_a_body_of_small_chunks_is_read_to_its_end(run: Callable[[Any], None], rest: bytes) -> None:
    run(send_a_body_in_two_pieces(CHUNKED + PAUSING_CHUNKS, rest + LAST_CHUNK))


async def send_a_body_in_two_pieces(first: bytes, second: bytes) -> None:
    async with listening() as listener:
        host, port = listener.address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(first)
        assert listener._runner.server is not None
        connections: Any = listener._runner.server.connections
        await until(lambda: any(is_waiting_for_more(each) for each in connections))
        writer.write(second)
        async with asyncio.timeout(5):
            assert b" 201 " in await reader.readuntil(b"}")
        writer.close()


def is_waiting_for_more(connection: Any) -> bool:
    body = connection._last_body
    return body is not None and body.total_bytes > 0 and body._size == 0


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_body_of_small_chunks_does_not_hold_up_the_next_one(run: Callable[[Any], None]) -> None:
    run(send_a_body_behind_small_chunks())


async def send_a_body_behind_small_chunks() -> None:
    async with listening() as listener:
        host, port = listener.address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        async with asyncio.timeout(5):
            for sent in (CHUNKED + PAUSING_CHUNKS + LAST_CHUNK, POST % 4 + b"body", POST % 4 + b"body"):
                writer.write(sent)
                assert b" 201 " in await reader.readuntil(b"}")
        writer.close()


async def test_an_idle_connection_keeps_no_body_that_was_not_read(address: str) -> None:
    """I8. Breaks: thousands of clients are refused without their bodies being read, and keep their connections."""
    gate = HELD_REQUESTS["idle"] = HeldRequest()
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /held/idle HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n" + bytes(900))
    await gate.entered.wait()
    request = gate.request
    assert request is not None
    await until(request.content.is_eof)
    assert request.content._size == 900
    gate.opened.set()
    await reader.readuntil(b"}")
    await until(lambda: request.content._size == 0)
    writer.close()


async def exchange_half_closed(address: str, sent: bytes) -> bytes:
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    writer.write_eof()
    async with asyncio.timeout(5):
        received = await reader.read()
    writer.close()
    return received


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
    monkeypatch.setattr(protocol, "REQUEST_HEAD_TIMEOUT_S", 0.1)


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
    assert has_connection(port, in_state="01")
    writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    await until(lambda: request_counts("/large").get(("GET", "200"), 0) > before)
    await until(lambda: not has_connection(port, in_state="01"))
    writer.transport.abort()


def has_connection(port: str, *, in_state: str) -> bool:
    """Whether a connection of this port is in this state, as the kernel sees it; "01" is established."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    return any(row[1].endswith(f":{int(port):04X}") and row[3] == in_state for row in rows)
