"""Requests that bypass aiohttp's handling: the connection behaves as it does with all others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import LogCapture

from services.chassis.http import protocol
from services.chassis.http.direct import Exchange
from services.chassis.http.server import HttpServer
from tests.chassis.eventually import until
from tests.chassis.http.server_fixtures import HELD_REQUESTS, HeldRequest, listening, logged, request_counts, reset

__all__ = ["logged"]

ROUTE = "/direct"
PUT = b"PUT /direct HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody"
POST = b"POST /things HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody"
GET = b"GET /things/1 HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /things/2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


class DirectHandler:
    """Takes requests to its route, and responds when it is told to."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.responds_at_once = True

    def __call__(self, exchange: Exchange) -> bool:
        if exchange.body == b"fail":
            raise RuntimeError("canary")
        if exchange.message.path != ROUTE:
            return False
        exchange.begin()
        self.exchanges.append(exchange)
        if self.responds_at_once:
            asyncio.get_running_loop().call_soon(self.respond)
        return True

    def respond(self, status: int = 202) -> None:
        self.exchanges[-1].respond(ROUTE, status, {"X-Direct": "yes"}, b"direct")


@pytest.fixture
def handler() -> DirectHandler:
    return DirectHandler()


@pytest.fixture
async def server(handler: DirectHandler) -> AsyncIterator[HttpServer]:
    async with listening(direct=handler) as server:
        yield server


@asynccontextmanager
async def connected(server: HttpServer) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, port = server.address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()


def connections_of(server: HttpServer) -> Any:
    assert server._runner.server is not None
    return server._runner.server.connections


def connection_of(server: HttpServer) -> Any:
    """The server's side of the only connection."""
    (connection,) = connections_of(server)
    return connection


async def read_response(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        return head + await reader.readexactly(length)


async def test_a_response_has_the_usual_headers(server: HttpServer) -> None:
    async with connected(server) as (reader, writer):
        writer.write(PUT.replace(b"Host: x", b"Host: x\r\nX-Request-Id: mine"))
        head, _, body = (await read_response(reader)).partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    assert status == "HTTP/1.1 202 Accepted"
    assert headers["x-request-id"] == "mine"
    assert headers["content-length"] == "6"
    assert headers.keys() == {"date", "server", "x-direct", "x-request-id", "content-length"}
    assert body == b"direct"


async def test_a_connection_serves_requests_of_both_kinds(server: HttpServer, handler: DirectHandler) -> None:
    async with connected(server) as (reader, writer):
        for request, part in ((PUT, b"direct"), (GET, b'"id":"1"'), (POST, b'"length":4'), (PUT, b"direct")):
            writer.write(request)
            assert part in await read_response(reader)
    assert len(handler.exchanges) == 2


async def test_a_declined_request_keeps_its_body(server: HttpServer) -> None:
    async with connected(server) as (reader, writer):
        writer.write(POST)
        assert b'{"length":4}' in await read_response(reader)


async def test_pipelined_requests_are_answered_in_order(server: HttpServer, handler: DirectHandler) -> None:
    handler.responds_at_once = False
    async with connected(server) as (reader, writer):
        writer.write(PUT)
        await until(lambda: len(handler.exchanges) == 1)
        writer.write(GET + POST)
        writer.write(LAST)
        await until(lambda: len(connection_of(server)._held) == 3)
        handler.respond()
        parts = [await read_response(reader) for _ in range(4)]
    assert [part in body for part, body in zip((b"direct", b'"1"', b"length", b'"2"'), parts, strict=True)] == [
        True
    ] * 4


async def test_a_client_that_does_not_wait_is_not_read_without_bound(
    server: HttpServer, handler: DirectHandler
) -> None:
    """I8. Breaks: a client sends requests for as long as Kafka does not acknowledge its first one."""
    handler.responds_at_once = False
    async with connected(server) as (reader, writer):
        writer.write(PUT)
        await until(lambda: len(handler.exchanges) == 1)
        writer.write(GET * 5_000 + LAST)
        connection = connection_of(server)
        await until(lambda: connection._buffer_paused)
        assert len(connection._held) <= connection._max_msg_queue_size
        handler.respond()
        async with asyncio.timeout(30):
            received = await reader.read()
    assert received.count(b'"id":"1"') == 5_000
    assert b'"id":"2"' in received


UPGRADE = b"GET /things/up HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


async def test_requests_behind_a_declined_upgrade_are_due_as_well(server: HttpServer, handler: DirectHandler) -> None:
    """Breaks: the connection takes itself for idle, and responds to the last request first."""
    gate = HELD_REQUESTS["upgrade"] = HeldRequest()
    async with connected(server) as (reader, writer):
        writer.write(UPGRADE + GET)
        assert b'"id":"up"' in await read_response(reader)
        assert b'"id":"1"' in await read_response(reader)
        writer.write(b"GET /held/upgrade HTTP/1.1\r\nHost: x\r\n\r\n")
        await gate.entered.wait()
        writer.write(PUT)
        await until(lambda: connection_of(server)._unanswered == 2)
        gate.opened.set()
        assert b'"held":true' in await read_response(reader)
        assert (await read_response(reader)).startswith(b"HTTP/1.1 404 ")
        writer.write(PUT)
        assert (await read_response(reader)).endswith(b"direct")
    assert len(handler.exchanges) == 1


async def test_a_body_behind_a_declined_upgrade_may_be_shorter_than_declared(server: HttpServer) -> None:
    async with connected(server) as (reader, writer):
        writer.write(UPGRADE + POST[:-1])
        writer.write_eof()
        assert b'"id":"up"' in await read_response(reader)
        assert (await read_response(reader)).startswith(b"HTTP/1.1 400 ")


async def test_reading_a_body_does_not_parse_again(
    server: HttpServer, handler: DirectHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[bytes] = []
    data_received = protocol._Protocol.data_received

    def observe(self: Any, data: bytes) -> None:
        parsed.append(data)
        data_received(self, data)

    monkeypatch.setattr(protocol._Protocol, "data_received", observe)
    async with connected(server) as (reader, writer):
        writer.write(PUT)
        await read_response(reader)
    assert handler.exchanges[0].body == b"body"
    assert parsed == [PUT]


async def test_requests_that_arrive_together_take_the_usual_way(server: HttpServer, handler: DirectHandler) -> None:
    async with connected(server) as (reader, writer):
        writer.write(PUT + GET)
        assert (await read_response(reader)).startswith(b"HTTP/1.1 404 ")
        assert b'"id":"1"' in await read_response(reader)
    assert not handler.exchanges


async def test_a_client_that_sends_no_more_gets_its_response(server: HttpServer, handler: DirectHandler) -> None:
    handler.responds_at_once = False
    async with connected(server) as (reader, writer):
        writer.write(PUT)
        writer.write_eof()
        await until(lambda: len(handler.exchanges) == 1 and connection_of(server)._half_closed)
        handler.respond()
        async with asyncio.timeout(10):
            assert (await reader.read()).endswith(b"direct")


@pytest.mark.parametrize(("status", "counted"), [(202, "499"), (503, "503")])
async def test_a_client_that_resets_the_connection_is_counted(
    server: HttpServer, handler: DirectHandler, status: int, counted: str
) -> None:
    handler.responds_at_once = False
    before = request_counts(ROUTE).get(("PUT", counted), 0)
    async with connected(server) as (_, writer):
        writer.write(PUT)
        await until(lambda: len(handler.exchanges) == 1)
        reset(writer)
        await until(lambda: connection_of(server).transport is None)
        handler.respond(status)
    assert request_counts(ROUTE)["PUT", counted] == before + 1
    await until(lambda: not connections_of(server))


async def test_a_request_in_progress_outlives_the_keep_alive_timeout(
    server: HttpServer, handler: DirectHandler
) -> None:
    handler.responds_at_once = False
    async with connected(server) as (reader, writer):
        writer.write(PUT)
        await until(lambda: len(handler.exchanges) == 1)
        connection = connection_of(server)
        connection._next_keepalive_close_time = 0
        connection._process_keepalive()
        connection._on_head_timeout()
        handler.respond()
        assert (await read_response(reader)).endswith(b"direct")


async def test_the_server_waits_for_a_request_in_progress(handler: DirectHandler) -> None:
    handler.responds_at_once = False
    async with listening(direct=handler) as server, connected(server) as (reader, writer):
        writer.write(PUT)
        await until(lambda: len(handler.exchanges) == 1)
        connection = connection_of(server)
        stopping = asyncio.create_task(server.stop())
        await until(lambda: connection._handler_waiter is not None)
        handler.respond()
        assert (await read_response(reader)).endswith(b"direct")
        async with asyncio.timeout(2):
            await stopping
            assert await reader.read() == b""


async def test_a_defect_leaves_the_request_to_its_route(server: HttpServer, logged: LogCapture) -> None:
    async with connected(server) as (reader, writer):
        writer.write(POST.replace(b"body", b"fail"))
        assert b'{"length":4}' in await read_response(reader)
    assert [entry["event"] for entry in logged.entries if entry["log_level"] == "error"] == ["direct handler failed"]


async def test_a_connection_that_is_about_to_close_takes_no_more(server: HttpServer, handler: DirectHandler) -> None:
    async with connected(server) as (reader, writer):
        writer.write(LAST)
        await read_response(reader)
        writer.write(PUT)
        async with asyncio.timeout(10):
            assert await reader.read() == b""
    assert not handler.exchanges
