"""Requests as the services' HTTP servers get them, without sockets: at the direct handler, and at the application."""

import asyncio
import gzip
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from aiohttp import StreamReader, web
from aiohttp.http import HttpVersion11, RawRequestMessage
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from services.chassis.http.direct import Exchange
from services.chassis.http.server import HttpServer
from tests.faults.checker.api import Response

MAX_BODY_BYTES = 2**16


class _Transport:
    """What aiohttp wants to know of a connection."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.1", 40_000) if name == "peername" else default

    def is_closing(self) -> bool:
        return False


class _Protocol:
    """What aiohttp wants of the protocol of a connection whose request has arrived completely."""

    transport = _Transport()
    _reading_paused = False
    ssl_context = peername = sockname = None

    def resume_reading(self, **_options: Any) -> None:
        """Do nothing."""

    pause_reading = resume_reading


class _Connection:
    """A connection on which the direct handler is to respond."""

    def __init__(self) -> None:
        self.response: asyncio.Future[Response] = asyncio.get_running_loop().create_future()

    def end_exchange(self, response: bytes) -> bool:
        """Let the client have the response, if it still waits."""
        if self.response.done():
            return False
        head, _, body = response.partition(b"\r\n\r\n")
        status_line, *lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        self.response.set_result(Response(int(status_line.split(" ")[1]), headers, body))
        return True

    def copy_body(self, body: bytes) -> StreamReader:
        """Return a reader of a body that has been read."""
        return _body_reader(body)


class Entrance:
    """The API of a service that has been built. `on_taken` is called for each request that its direct handler takes."""

    def __init__(self, server: HttpServer, on_taken: Callable[[], None]) -> None:
        self._runner = server._runner
        self._on_taken = on_taken

    @property
    def is_open(self) -> bool:
        """Whether the service has started."""
        return self._runner.app.frozen

    def open(self) -> None:
        """Let requests in."""
        self._runner.app.freeze()

    async def respond(self, message: RawRequestMessage, body: bytes) -> Response:
        """Offer the request to the direct handler, as the protocol does, or else to the application."""
        content = _body_reader(body)
        if self._runner._direct is not None:
            connection = _Connection()
            exchange = Exchange(connection, message, content)
            if self._runner._direct(exchange):
                self._on_taken()
                return await connection.response
            content = exchange.payload
        response = await self._runner.app._handle(self._request(message, content))
        return Response(response.status, dict(response.headers), bytes(response.body or b""))  # type: ignore[attr-defined] # never a stream

    def _request(self, message: RawRequestMessage, content: StreamReader) -> web.Request:
        protocol, nothing = _Protocol(), None
        loop = asyncio.get_running_loop()
        options: Any = {"client_max_size": self._runner.app._client_max_size}
        arguments: Any = (message, content, protocol, nothing, nothing, loop)
        return web.Request(*arguments, **options)


def entrance_of(components: Iterable[object], on_taken: Callable[[], None]) -> Entrance | None:
    """The service's API; its server is the last one, behind that of operations."""
    servers = [one for one in components if isinstance(one, HttpServer)]
    return Entrance(servers[-1], on_taken) if servers else None


def request_message(
    method: str, path: str, *, token: str, body: Any, headers: Mapping[str, str], is_zipped: bool
) -> tuple[RawRequestMessage, bytes]:
    """Return the head and the body of a request as they arrive."""
    content = b"" if body is None else json.dumps(body).encode()
    sent = {"Authorization": f"Bearer {token}", "Host": "tillstream.example", **headers}
    if body is not None:
        sent["Content-Type"] = "application/json"
    if is_zipped:
        content, sent["Content-Encoding"] = gzip.compress(content, mtime=0), "gzip"
    fields = CIMultiDict({**sent, "Content-Length": str(len(content))})
    message = RawRequestMessage(
        method=method,
        path=path,
        version=HttpVersion11,
        headers=CIMultiDictProxy(fields),
        raw_headers=tuple((name.encode(), value.encode()) for name, value in fields.items()),
        should_close=False,
        compression=None,
        upgrade=False,
        chunked=False,
        url=URL(path),
    )
    return message, content


def _body_reader(body: bytes) -> StreamReader:
    protocol: Any = _Protocol()
    stream = StreamReader(protocol, MAX_BODY_BYTES, loop=asyncio.get_running_loop())
    stream.feed_data(body)
    stream.feed_eof()
    return stream
