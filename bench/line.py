"""A connection that asks by hand: an HTTP client in Python would take half as long as the answers that it times."""

import asyncio
from typing import Self, cast

_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


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
        self._received = bytearray()
        self._missing: int | None = None
        self._answer: asyncio.Future[bytearray] = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def data_received(self, data: bytes) -> None:
        """A part of the answer, or all of it."""
        self._received += data
        if self._missing is None:
            end = self._received.find(_END)
            if end < 0:
                return
            head = bytes(self._received[:end]).lower()
            if not head.startswith(b"http/1.1 200 "):
                self._answer.set_exception(ValueError(head.decode("latin-1")))
                return
            at = head.index(_LENGTH) + len(_LENGTH)
            self._missing = end + len(_END) + int(head[at:].split(b"\r\n", 1)[0])
            self._body_at = end + len(_END)
        if len(self._received) >= self._missing:
            del self._received[: self._body_at]
            self._answer.set_result(self._received)

    def connection_lost(self, error: Exception | None) -> None:
        """Nobody waits in vain."""
        if hasattr(self, "_answer") and not self._answer.done():
            self._answer.set_exception(error or ConnectionResetError("the server hung up"))

    def close(self) -> None:
        """Hang up."""
        self._transport.close()
