"""A small application on a real socket, and requests to it, for the tests of HTTP."""

import asyncio
import json
import re
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
import structlog
from aiohttp import web
from structlog.testing import LogCapture

from services.chassis.http.request_metrics import SECONDS
from services.chassis.http.responses import REQUEST_ID, json_response, traceparent_from
from services.chassis.http.server import HttpServer, build_application
from services.chassis.runtime.errors import BodyFault, ForbiddenError, Problem, UnauthorizedError, UnavailableError

CANARY = "canary-5d1f"


@dataclass
class HeldRequest:
    """Holds a request until `opened` is set."""

    entered: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    request: web.Request | None = None
    status: int = 200

    @property
    def is_disconnected(self) -> bool:
        """Whether the server knows that the client has disconnected."""
        return self.request is not None and self.request.transport is None


HELD_REQUESTS: dict[str, HeldRequest] = {}
routes = web.RouteTableDef()


@routes.get("/things/{id}")
async def thing(request: web.Request) -> web.Response:
    return json_response(
        {"id": request.match_info["id"], "trace": traceparent_from(request.headers), "rid": request[REQUEST_ID]}
    )


@routes.post("/things")
async def take(request: web.Request) -> web.Response:
    return json_response({"length": len(await request.read())}, status=201)


@routes.get("/held/{name}")
async def held(request: web.Request) -> web.Response:
    gate = HELD_REQUESTS[request.match_info["name"]]
    gate.request = request
    gate.entered.set()
    await gate.opened.wait()
    return json_response({"held": True}, status=gate.status)


@routes.get("/large")
async def large(_request: web.Request) -> web.Response:
    return web.Response(body=bytes(32 * 1024 * 1024))


RAISED: dict[str, Callable[[], Exception]] = {
    "defect": lambda: RuntimeError(CANARY),
    "refused": lambda: ConnectionRefusedError(CANARY),
    "timeout": lambda: TimeoutError(CANARY),
    "away": lambda: UnavailableError("Kafka", retry_after_s=7),
    "unauthorized": lambda: UnauthorizedError("the token has expired"),
    "no-token": lambda: UnauthorizedError("a token is needed", presented=False),
    "forbidden": lambda: ForbiddenError("the token is for another site"),
    "moved": lambda: web.HTTPFound("/things/1"),
    "teapot": lambda: web.HTTPUnsupportedMediaType(text=CANARY),
    "faults": lambda: Problem(
        422,
        "INVALID_BODY",
        "two faults",
        headers={"X-More": "1"},
        errors=[BodyFault("/0/id", "MISSING", "is missing"), BodyFault("", "EMPTY", "is empty")],
        extra={"jobId": "j1"},
    ),
}


@routes.get("/raise/{what}")
async def fail(request: web.Request) -> web.Response:
    error = RAISED[request.match_info["what"]]()
    raise error


@asynccontextmanager
async def listening(app: web.Application | None = None, **options: Any) -> AsyncIterator[HttpServer]:
    listener = HttpServer(
        app or build_application(list(routes), max_body_bytes=1_000), host="127.0.0.1", port=0, **options
    )
    await listener.start()
    try:
        yield listener
    finally:
        await listener.stop()


@pytest.fixture
async def address() -> AsyncIterator[str]:
    async with listening() as listener:
        yield listener.address


@pytest.fixture
async def client(address: str) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(f"http://{address}") as session:
        yield session


@pytest.fixture
def logged() -> Iterator[LogCapture]:
    capture = LogCapture()
    kept = structlog.get_config()
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, capture], cache_logger_on_first_use=False)
    yield capture
    structlog.configure(**kept)


async def exchange(address: str, sent: bytes) -> tuple[str, dict[str, str], bytes]:
    """Send one raw request on its own connection; return status line, headers and body of the response."""
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    async with asyncio.timeout(10):
        received = await reader.read()
    writer.close()
    head, _, body = received.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    return status, dict(line.lower().split(": ", 1) for line in lines), body


def reset(writer: asyncio.StreamWriter) -> None:
    """Leave so that the server learns of it: a connection that is merely closed could still be read."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def a_problem(response: aiohttp.ClientResponse) -> dict[str, Any]:
    assert response.headers["Content-Type"] == "application/problem+json"
    document: dict[str, Any] = json.loads(await response.read())
    assert document["status"] == response.status
    assert document["requestId"] == response.headers["X-Request-Id"]
    assert document["instance"].endswith(document["requestId"])
    assert document["type"]
    assert document["title"]
    assert document["detail"]
    assert re.fullmatch(r"[A-Z][A-Z_]+", document["code"])
    return document


def request_counts(route: str) -> dict[tuple[str, str], float]:
    """Return the number of a route's requests by method and status."""
    return {
        (sample.labels["method"], sample.labels["status"]): sample.value
        for family in SECONDS.collect()
        for sample in family.samples
        if sample.name.endswith("_count") and sample.labels["route"] == route
    }
