"""A connection that asks by hand: an HTTP client in Python would take half as long as the answers that it times."""

import asyncio
from typing import Self, cast

_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


class Answer:
    """An answer as it comes in."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._missing: int | None = None

    def is_whole_with(self, data: bytes) -> bool:
        """Whether this was the last part of it; raises `ValueError` unless it is a good one."""
        self._received += data
        if self._missing is None:
            end = self._received.find(_END)
            if end < 0:
                return False
            head = bytes(self._received[:end]).lower()
            if not head.startswith(b"http/1.1 200 "):
                raise ValueError(head.decode("latin-1"))
            at = head.index(_LENGTH) + len(_LENGTH)
            self._body_at = end + len(_END)
            self._missing = self._body_at + int(head[at:].split(b"\r\n", 1)[0])
        return len(self._received) >= self._missing

    def body(self) -> bytearray:
        """What is told in it, once it is whole."""
        return self._received[self._body_at :]


class Line(asyncio.Protocol):
    """One question after the other on one connection."""

    @classmethod
    async def to(cls, host: str, port: int) -> Self:
        """A line to a server."""
        _, made = await asyncio.get_running_loop().create_connection(cls, host, port)
        return made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The line may be used."""
        # uvloop's are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    async def ask(self, request: bytes) -> bytearray:
        """The body of an answer that is good."""
        self._coming = Answer()
        self._answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        await self._answered
        return self._coming.body()

    def data_received(self, data: bytes) -> None:
        """A part of the answer, or all of it."""
        try:
            if self._coming.is_whole_with(data):
                self._answered.set_result(None)
        except ValueError as refused:
            self._answered.set_exception(refused)

    def connection_lost(self, error: Exception | None) -> None:
        """Nobody waits in vain."""
        if hasattr(self, "_answered") and not self._answered.done():
            self._answered.set_exception(error or ConnectionResetError("the server hung up"))

    def close(self) -> None:
        """Hang up."""
        self._transport.close()
