"""As many requests as go, by hand: a load that takes little of the machine from what it measures."""

import asyncio
from collections.abc import Iterator
from itertools import cycle
from time import perf_counter

_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


class _Connection(asyncio.Protocol):
    """One request after the other; every answer is looked at."""

    def __init__(self, requests: Iterator[bytes], until: float, answers: dict[int, int]) -> None:
        self._requests = requests
        self._until = until
        self._answers = answers
        self._received = b""
        self._transport: asyncio.Transport
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("not a connection")
        self._transport = transport
        transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, rest = self._received.partition(_END)
        if not found or len(rest) < _length(head):
            return
        status = int(self._received[9:12])
        self._answers[status] = self._answers.get(status, 0) + 1
        self._received = b""
        if perf_counter() < self._until:
            self._transport.write(next(self._requests))
        else:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(error)


def _length(head: bytes) -> int:
    lowered = head.lower()
    at = lowered.find(_LENGTH)
    return int(lowered[at + len(_LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0


def request(method: str, path: str, body: bytes, headers: dict[str, str]) -> bytes:
    """The bytes of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: bench", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def hammer(port: int, requests: list[bytes], *, connections: int, seconds: float) -> tuple[dict[int, int], float]:
    """Answers by status, and the seconds until the last of them."""
    loop, source, answers, began = asyncio.get_running_loop(), cycle(requests), dict[int, int](), perf_counter()
    made = [
        await loop.create_connection(lambda: _Connection(source, began + seconds, answers), "127.0.0.1", port)
        for _ in range(connections)
    ]
    for error in await asyncio.gather(*(protocol.done for _, protocol in made)):
        if error is not None:
            raise error
    return answers, perf_counter() - began
