"""The proxy itself: each fault does what it says, and nothing else."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from time import monotonic

import pytest

from sandbox.ports import free_ports
from tests.chassis.eventually import until
from tests.faults.wire.proxy import BOTH, Direction, Proxy

TEXT = b"0123456789" * 1000


class Server:
    """Answers each line with the line, and keeps what it got."""

    def __init__(self) -> None:
        self.received = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100_000):
            self.received += data
            writer.write(data)
            await writer.drain()
        writer.close()


@dataclass
class Client:
    """Connects to the proxy, behind which is the server."""

    proxy: Proxy
    server: Server
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.proxy.port)
        self.writers.append(writer)
        return reader, writer


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    port, target = free_ports(2)
    proxy, server = Proxy(port, target), Server()
    async with await asyncio.start_server(server.serve, "127.0.0.1", target):
        await proxy.start()
        client = Client(proxy, server)
        yield client
        for writer in client.writers:
            writer.close()
        await proxy.stop()
        await until(lambda: not proxy._connections)


async def test_without_faults_bytes_and_their_end_are_forwarded(client: Client) -> None:
    reader, writer = await client.connect()
    writer.write(TEXT)
    writer.write_eof()
    assert await reader.read(-1) == TEXT


async def test_held_bytes_arrive_when_the_fault_is_healed(client: Client) -> None:
    proxy = client.proxy
    reader, writer = await client.connect()
    proxy.flows[Direction.ANSWERS].hold()
    writer.write(TEXT)
    await until(lambda: client.server.received == TEXT)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.05)
    proxy.heal()
    assert await reader.readexactly(len(TEXT)) == TEXT


async def test_dropped_answers_never_arrive_and_the_connection_ends(client: Client) -> None:
    """The request was carried out; its answer is lost for ever."""
    proxy = client.proxy
    reader, writer = await client.connect()
    proxy.flows[Direction.ANSWERS].is_dropping = True
    writer.write(TEXT)
    await until(lambda: client.server.received == TEXT)
    # Later bytes would be taken for the beginning of the lost answer.
    await until(lambda: any(each.is_torn for each in proxy._connections))
    proxy.heal()
    with pytest.raises(ConnectionResetError):
        await reader.readexactly(1)
    reader, writer = await client.connect()
    writer.write(b"again")
    assert await reader.readexactly(5) == b"again"


async def test_connections_are_cut_after_a_number_of_bytes(client: Client) -> None:
    proxy = client.proxy
    reader, writer = await client.connect()
    other, _ = await client.connect()
    proxy.flows[Direction.REQUESTS].cut_after_bytes = 1000
    writer.write(TEXT[:999])
    assert await reader.readexactly(999) == TEXT[:999]
    writer.write(b"x")
    await until(lambda: not proxy._connections)
    assert len(client.server.received) == 1000
    for each in (reader, other):
        with pytest.raises(ConnectionResetError):
            await each.readexactly(1)
    assert proxy.flows[Direction.REQUESTS].cut_after_bytes is None


@pytest.mark.parametrize("direction", BOTH)
async def test_slices_and_delays_change_nothing_but_the_time(direction: Direction, client: Client) -> None:
    proxy = client.proxy
    flow = proxy.flows[direction]
    flow.piece_bytes, flow.delay_s, flow.rest_s = 999, 0.05, 0.001
    reader, writer = await client.connect()
    began = monotonic()
    writer.write(TEXT)
    assert await reader.readexactly(len(TEXT)) == TEXT
    assert monotonic() - began > 0.05


async def test_refused_connections_are_reset(client: Client) -> None:
    proxy = client.proxy
    proxy.is_refusing = True
    reader, _ = await client.connect()
    with pytest.raises(ConnectionResetError):
        await reader.readexactly(1)
