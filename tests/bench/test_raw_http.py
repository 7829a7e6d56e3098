"""The benchmarks' HTTP client: connections that a server has closed, and responses other than 200."""

import asyncio
import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from bench.closed_loop import closed_loop
from bench.raw_http import BlockingConnection, Connection, Response, build_request

REQUEST = build_request("GET", "/", b"", {})


@asynccontextmanager
async def server(responses_per_connection: int, *, status: int = 200) -> AsyncIterator[int]:
    """Serve HTTP and close each connection after that many responses, as after an idle time; yield the port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The client closes its connections while this waits for the next request.
        with suppress(asyncio.IncompleteReadError):
            for _ in range(responses_per_connection):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 %d x\r\nContent-Length: 2\r\n\r\nok" % status)
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listener:
        yield listener.sockets[0].getsockname()[1]


def blocking_get(connection: BlockingConnection) -> bytes:
    connection.send(REQUEST)
    is_complete = False
    while not is_complete:
        select.select([connection], (), (), 10)
        is_complete = connection.receive()
    return bytes(connection._response.body)


async def test_a_connection_that_the_server_has_closed_is_opened_again() -> None:
    async with server(1) as port, Connection("127.0.0.1", port) as connection:
        for _ in range(3):
            assert await connection.get(REQUEST) == b"ok"


async def test_a_blocking_connection_that_the_server_has_closed_is_opened_again() -> None:
    def requests(port: int) -> list[bytes]:
        connection = BlockingConnection(port)
        try:
            return [blocking_get(connection) for _ in range(3)]
        finally:
            connection.close()

    async with server(1) as port:
        assert await asyncio.to_thread(requests, port) == [b"ok"] * 3


async def test_a_server_that_never_answers_is_an_error() -> None:
    async with server(0) as port, Connection("127.0.0.1", port) as connection:
        with pytest.raises(ConnectionError):
            await connection.get(REQUEST)


async def test_a_status_other_than_200_is_an_error() -> None:
    async with server(1, status=503) as port, Connection("127.0.0.1", port) as connection:
        with pytest.raises(ValueError, match="503"):
            await connection.get(REQUEST)


async def test_a_closed_loop_counts_responses_by_status() -> None:
    async with server(1_000_000, status=202) as port:
        statuses, took_s = await closed_loop(port, [REQUEST], connections=2, seconds=0.05)
    assert statuses[202] > 1
    assert took_s >= 0.05


@pytest.mark.parametrize("size", [1, 7, 1_000])
def test_a_response_may_arrive_in_pieces(size: int) -> None:
    data = b"HTTP/1.1 200 OK\r\nX: y\r\ncontent-length: 5\r\n\r\nhello"
    response, pieces = Response(), [data[at : at + size] for at in range(0, len(data), size)]
    assert [response.feed(piece) for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert (response.status, bytes(response.body)) == (200, b"hello")
