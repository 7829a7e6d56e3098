"""A minimal HTTP/1.1 client: a general one would take as long as some of the responses that it times.

A server may close a connection that was idle for longer than its keep-alive timeout, so both clients reconnect and
repeat a request that a reused connection did not answer. Send idempotent requests only.
"""

import asyncio
import select
import socket
from collections.abc import Mapping
from typing import Self, cast

_HEAD_END = b"\r\n\r\n"
_CONTENT_LENGTH = b"content-length:"
_RECEIVE_BYTES = 2**20


def build_request(method: str, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """Return the bytes of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: bench", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Response:
    """A response as it arrives."""

    status = 0

    def __init__(self) -> None:
        self._received = bytearray()
        self._body_start = 0
        self._end: int | None = None

    @property
    def has_data(self) -> bool:
        """Whether any byte has arrived."""
        return bool(self._received)

    @property
    def body(self) -> bytearray:
        """The body, once the response is complete."""
        return self._received[self._body_start :]

    def feed(self, data: bytes) -> bool:
        """Add received bytes; return whether the response is complete."""
        self._received += data
        if self._end is None:
            head_end = self._received.find(_HEAD_END)
            if head_end < 0:
                return False
            head = bytes(self._received[:head_end]).lower()
            self.status = int(head[9:12])
            self._body_start = head_end + len(_HEAD_END)
            self._end = self._body_start + _content_length(head)
        return len(self._received) >= self._end


def _content_length(head: bytes) -> int:
    at = head.find(_CONTENT_LENGTH)
    return int(head[at + len(_CONTENT_LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0


class HttpProtocol(asyncio.Protocol):
    """One request at a time on a connection. Subclasses say what happens at the response and at the end."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def send(self, request: bytes) -> None:
        """Write a request; `response_received` follows."""
        self._response = Response()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Parse the response."""
        if self._response.feed(data):
            self.response_received(self._response)

    def response_received(self, response: Response) -> None:
        """Handle a complete response."""
        raise NotImplementedError  # abstract: each load generator has its own

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()


class _AwaitableProtocol(HttpProtocol):
    """Resolves a future with each response."""

    def __init__(self) -> None:
        self.is_closed = False
        self._future: asyncio.Future[Response] | None = None

    def request(self, request: bytes) -> "asyncio.Future[Response]":
        self._future = asyncio.get_running_loop().create_future()
        self.send(request)
        return self._future

    def response_received(self, response: Response) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(response)

    def connection_lost(self, error: Exception | None) -> None:
        self.is_closed = True
        if self._future is not None and not self._future.done():
            self._future.set_exception(error or ConnectionResetError("the server closed the connection"))


class Connection:
    """A keep-alive connection for one request at a time."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._protocol: _AwaitableProtocol | None = None

    async def get(self, request: bytes) -> bytearray:
        """Send a request and return the body of its 200 response; raises `ValueError` for another status."""
        is_reused = self._protocol is not None and not self._protocol.is_closed
        try:
            response = await (await self._connected()).request(request)
        except ConnectionError:
            if not is_reused:
                raise
            response = await (await self._connected()).request(request)
        if response.status != 200:
            raise ValueError(f"status {response.status}")
        return response.body

    async def _connected(self) -> _AwaitableProtocol:
        if self._protocol is None or self._protocol.is_closed:
            loop = asyncio.get_running_loop()
            _, self._protocol = await loop.create_connection(_AwaitableProtocol, *self._address)
        return self._protocol

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._protocol is not None:
            self._protocol.close()


class BlockingConnection:
    """A keep-alive connection without an event loop, which would take longer than some responses. For `select`."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connect()

    def fileno(self) -> int:
        """The socket's file descriptor."""
        return self._socket.fileno()

    def send(self, request: bytes) -> None:
        """Send a request."""
        if select.select([self], (), (), 0)[0]:
            # An idle connection is readable when the server has closed it.
            self._reconnect()
        self._request, self._response, self._is_repeated = request, Response(), False
        self._socket.sendall(request)

    def receive(self) -> bool:
        """Read what has arrived; return whether the response, a successful one, is complete."""
        try:
            data = self._socket.recv(_RECEIVE_BYTES)
        except ConnectionResetError:
            data = b""
        if not data:
            self._repeat()
            return False
        is_complete = self._response.feed(data)
        if is_complete and not 200 <= self._response.status < 300:
            raise ValueError(f"status {self._response.status}")
        return is_complete

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _repeat(self) -> None:
        if self._is_repeated or self._response.has_data:
            raise ConnectionResetError("the server closed the connection")
        self._reconnect()
        self._is_repeated = True
        self._socket.sendall(self._request)

    def _reconnect(self) -> None:
        self._socket.close()
        self._connect()

    def _connect(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self._port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
