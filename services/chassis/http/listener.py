"""Accepts connections few at a time, so that open ones get their turns in between."""

import asyncio
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from aiohttp import web

from services.chassis.runtime.logs import logger

# A handler of a new connection takes up to a millisecond of each of the event loop's turns. Asyncio's servers accept
# all connections that wait: thousands of clients at once then hold up the others for seconds.
MAX_ACCEPTS_PER_TURN = 8
# Connections that wait meanwhile; the kernel's `somaxconn` bounds it. Beyond it, clients cannot connect in time.
BACKLOG = 4096
# What the kernel receives of a connection before it is read, about; it counts as the process's memory, too.
RECEIVE_BUFFER_BYTES = 32 * 1024
# What is read of a connection at once: little until its handler reads the body. An overloaded process would otherwise
# hold the bodies of thousands of connections before it refuses the first.
MAX_HEAD_READ_BYTES, MAX_BODY_READ_BYTES = 8 * 1024, 64 * 1024
# Without free file descriptors.
ACCEPT_PAUSE_S = 0.5
_LOG = logger(__name__)


class Handler(Protocol):
    """What handles the bytes of a connection."""

    @property
    def max_read_bytes(self) -> int:
        """How much to read of the connection at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection begins."""

    def data_received(self, data: bytes) -> None:
        """The client sent this."""

    def eof_received(self) -> bool:
        """The client sends no more; returns whether the connection stays open."""

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection has ended."""

    def pause_writing(self) -> None:
        """The client reads too slowly."""

    def resume_writing(self) -> None:
        """The client has read."""


class BoundedReader(asyncio.BufferedProtocol):
    """Bounds what is read at once. For protocols without a buffer the event loop reads up to 256 KiB."""

    # Used by one connection at a time: it is filled and copied within one call of the event loop.
    _buffer = memoryview(bytearray(MAX_BODY_READ_BYTES))
    __slots__ = ("_handler",)

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to read to."""
        del sizehint
        return self._buffer[: self._handler.max_read_bytes]

    def buffer_updated(self, nbytes: int) -> None:
        """Handle what was read."""
        self._handler.data_received(bytes(self._buffer[:nbytes]))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._handler.connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """End."""
        self._handler.connection_lost(exc)

    def eof_received(self) -> bool:
        """Return whether the connection stays open."""
        return self._handler.eof_received()

    def pause_writing(self) -> None:
        """Stop writing."""
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        """Continue to write."""
        self._handler.resume_writing()


class Site(web.BaseSite):
    """A port of an application. When it stops, it first accepts what waits: these clients were told of a connection."""

    def __init__(self, runner: web.AppRunner, host: str, port: int) -> None:
        super().__init__(runner)
        self._host = host
        self._port = port
        self._listener: Listener | None = None

    @property
    def name(self) -> str:
        """The address, for aiohttp's messages."""
        return f"http://{self._host}:{self._port}"

    async def start(self) -> None:
        """Listen; raises `OSError`."""
        await super().start()
        server = self._runner.server
        if server is None:
            raise RuntimeError("the runner is not set up")
        self._listener = Listener(server, await _bind(self._host, self._port))
        # aiohttp asks it for its sockets, and closes it.
        self._server = self._listener  # type: ignore[assignment]

    async def stop(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            await self._listener.drain()
        await super().stop()


class Listener:
    """Accepts connections on sockets that listen."""

    def __init__(self, server: web.Server, sockets: Sequence[socket.socket]) -> None:
        self.sockets = sockets
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._connecting: set[asyncio.Task[object]] = set()
        for each in sockets:
            self._loop.add_reader(each, self._accept_some, each)

    def close(self) -> None:
        """Close the sockets."""
        for each in self.sockets:
            self._loop.remove_reader(each)
            each.close()
        self.sockets = ()

    async def drain(self) -> None:
        """Accept all connections that wait, and no more."""
        for each in self.sockets:
            self._loop.remove_reader(each)
            while self._accept(each):
                pass
        await asyncio.gather(*self._connecting, return_exceptions=True)

    def _accept_some(self, listening: socket.socket) -> None:
        for _ in range(MAX_ACCEPTS_PER_TURN):
            if not self._accept(listening):
                return

    def _accept(self, listening: socket.socket) -> bool:
        try:
            connection, _ = listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as error:
            _LOG.error("cannot accept connections", error=str(error))
            self._loop.remove_reader(listening)
            self._loop.call_later(ACCEPT_PAUSE_S, self._resume, listening)
            return False
        connection.setblocking(False)  # noqa: FBT003 - the standard library's signature
        task = self._loop.create_task(self._connect(connection))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
        return True

    async def _connect(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._server, connection)
        except OSError:
            # The client has left again.
            connection.close()

    def _resume(self, listening: socket.socket) -> None:
        if listening in self.sockets:
            self._loop.add_reader(listening, self._accept_some, listening)


async def _bind(host: str, port: int) -> Sequence[socket.socket]:
    """Return a listening socket for each address of the host."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, type_, protocol, _, address in dict.fromkeys(found):
            each = socket.socket(family, type_, protocol)
            sockets.append(each)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            # Connections inherit it.
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            each.bind(address)
            each.listen(BACKLOG)
            each.setblocking(False)  # noqa: FBT003 - the standard library's signature
    except BaseException:
        for each in sockets:
            with suppress(OSError):
                each.close()
        raise
    return sockets
