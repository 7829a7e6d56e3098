"""Requests to receivers that misbehave, over a name server that a test controls."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.webhooks.adapters.http_transport import HttpTransport
from services.webhooks.domain.delivery import Outcome
from tests.webhooks.events import NOON_US

Addresses = Sequence[str]


def resolver(*answers: Addresses | BaseException) -> Callable[..., Any]:
    """A name server: each look-up gets the next answer, and then the last one again."""
    left = list(answers)

    def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        del host
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, BaseException):
            raise answer
        return [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                socket.SOCK_STREAM,
                6,
                "",
                (address, port, 0, 0) if ":" in address else (address, port),
            )
            for address in answer
        ]

    return getaddrinfo


@asynccontextmanager
async def a_transport(*answers: Addresses | BaseException, **options: Any) -> AsyncIterator[HttpTransport]:
    if answers:
        options["getaddrinfo"] = resolver(*answers)
    transport = HttpTransport(now_us=lambda: NOON_US, **options)
    await transport.start()
    try:
        yield transport
    finally:
        await transport.stop()


async def post(transport: HttpTransport, url: str = "https://shop.example/") -> Outcome:
    return await transport.post(url, {"webhook-id": "x"}, b"{}")


class Receiver:
    """A server with one path for each kind of behaviour."""

    def __init__(self) -> None:
        self.visited: list[str] = []
        self.released = asyncio.Event()
        app = web.Application()
        app.router.add_route("*", "/{kind}", self._answer)
        self.server = TestServer(app)

    @property
    def port(self) -> int:
        assert self.server.port is not None
        return self.server.port

    def url(self, kind: str) -> str:
        return f"http://127.0.0.1:{self.port}/{kind}"

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        kind = request.match_info["kind"]
        self.visited.append(kind)
        if kind == "hangs":
            await self.released.wait()
        if kind == "redirects":
            raise web.HTTPFound("/inside")
        if kind == "large":
            return web.Response(body=b"x" * 5_000_000)
        if kind == "slow":
            return await self._drip(request)
        if kind == "busy":
            return web.Response(status=429, headers={"Retry-After": "120"}, text="slow down")
        if kind == "close":
            return web.Response(text="fine", headers={"Connection": "close"})
        return web.Response(text="fine")

    async def _drip(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first")
        await self.released.wait()
        return response


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    await receiver.server.start_server()
    yield receiver
    receiver.released.set()
    await receiver.server.close()
