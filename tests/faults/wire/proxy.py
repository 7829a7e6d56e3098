"""A TCP proxy whose connections can be broken in all the ways in which networks break them."""

import asyncio
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum

from tests.faults.wire.flow import Flow

READ_SIZE = 65_536
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)


class Direction(StrEnum):
    """Requests are the bytes from the client, answers those from the server."""

    REQUESTS = "requests"
    ANSWERS = "answers"


BOTH = (Direction.REQUESTS, Direction.ANSWERS)


@dataclass(eq=False)
class _Connection:
    """A client's connection and the one to the server."""

    sides: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
    # Bytes were dropped: what follows makes no sense to the receiver.
    is_torn: bool = False

    def cut(self) -> None:
        """Reset both sides: what is on its way is lost."""
        for side in self.sides:
            _reset(side)


@dataclass
class Proxy:
    """Listens on one port of the loopback interface and forwards to another.

    `flows` has the faults of each direction, for all connections. `heal()` ends them all; connections that have lost
    bytes are reset then.
    """

    port: int
    target: int
    name: str = ""
    flows: dict[Direction, Flow] = field(default_factory=lambda: {each: Flow() for each in BOTH})
    # New connections are reset at once.
    is_refusing: bool = False
    _connections: set[_Connection] = field(default_factory=set)
    _server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def stop(self) -> None:
        """Close the port and reset all connections."""
        if self._server is not None:
            self._server.close()
        self.cut()
        self.heal()

    def cut(self) -> None:
        """Reset all connections."""
        for connection in list(self._connections):
            connection.cut()

    def heal(self) -> None:
        """End all faults."""
        self.is_refusing = False
        for flow in self.flows.values():
            flow.heal()
        for connection in list(self._connections):
            if connection.is_torn:
                connection.cut()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_refusing:
            _reset(writer)
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            _reset(writer)
            return
        connection = _Connection((writer, far_writer))
        self._connections.add(connection)
        try:
            await asyncio.gather(
                self._forward(connection, reader, far_writer, self.flows[Direction.REQUESTS]),
                self._forward(connection, far_reader, writer, self.flows[Direction.ANSWERS]),
            )
        finally:
            self._connections.discard(connection)
            for each in connection.sides:
                each.close()

    async def _forward(
        self, connection: _Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flow: Flow
    ) -> None:
        try:
            while data := await reader.read(READ_SIZE):
                for piece in await flow.pieces(data):
                    if flow.is_dropping:
                        connection.is_torn = True
                        continue
                    writer.write(piece)
                    await writer.drain()
                    await flow.rest_after_piece()
                if flow.is_used_up(len(data)):
                    # Not only this connection: a client often has several, and would go on over another one.
                    await writer.drain()
                    self.cut()
            if not flow.is_dropping:
                writer.write_eof()
        except OSError:
            connection.cut()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close the connection by a reset (RST), not by its end (FIN)."""
    # It may be closed already.
    with suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
    writer.transport.abort()
