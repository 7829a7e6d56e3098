"""Closed loop: each connection sends its next request when it has its response; costs little CPU of its own."""

import asyncio
from collections.abc import Iterator
from itertools import cycle
from time import perf_counter

from bench.raw_http import HttpProtocol, Response


class _LoadProtocol(HttpProtocol):
    def __init__(self, requests: Iterator[bytes], until: float, statuses: dict[int, int]) -> None:
        self._requests = requests
        self._until = until
        self._statuses = statuses
        self.done: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.send(next(self._requests))

    def response_received(self, response: Response) -> None:
        self._statuses[response.status] = self._statuses.get(response.status, 0) + 1
        if perf_counter() < self._until:
            self.send(next(self._requests))
        else:
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(error)


async def closed_loop(
    port: int, requests: list[bytes], *, connections: int, seconds: float
) -> tuple[dict[int, int], float]:
    """Send requests for some seconds; return the responses by status, and the seconds until the last of them."""
    loop, source, statuses, began = asyncio.get_running_loop(), cycle(requests), dict[int, int](), perf_counter()
    opened = [
        await loop.create_connection(lambda: _LoadProtocol(source, began + seconds, statuses), "127.0.0.1", port)
        for _ in range(connections)
    ]
    for error in await asyncio.gather(*(protocol.done for _, protocol in opened)):
        if error is not None:
            raise error
    return statuses, perf_counter() - began
