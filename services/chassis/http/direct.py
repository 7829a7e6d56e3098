"""Requests that are answered without aiohttp's request, task, router, middleware and response.

For a route whose requests are so small and frequent that all this costs more than their work (ADR 16).
"""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from time import monotonic
from typing import Protocol

from aiohttp import StreamReader
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import SERVER_SOFTWARE, RawRequestMessage

from services.chassis.http.request_metrics import DISCONNECTED, IN_FLIGHT, RouteMetrics
from services.chassis.http.responses import X_REQUEST_ID, request_id_from

_ROUTE_METRICS = RouteMetrics()
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}


class Connection(Protocol):
    """A connection that waits for the response to an exchange."""

    def end_exchange(self, response: bytes) -> bool:
        """Send the response and go on with the next request; return False if the client has disconnected."""

    def copy_body(self, body: bytes) -> StreamReader:
        """Return a reader of a body that has been read."""


class Exchange:
    """A request that has arrived as a whole, and its response."""

    __slots__ = ("_body", "_connection", "_payload", "_started_at", "headers", "message", "request_id")

    def __init__(self, connection: Connection, message: RawRequestMessage, payload: StreamReader) -> None:
        self._connection = connection
        self._payload = payload
        self._body: bytes | None = None
        self._started_at = monotonic()
        self.message = message
        self.headers = message.headers
        self.request_id = ""

    @property
    def body(self) -> bytes:
        """The body as it was sent."""
        if self._body is None:
            self._body = self._payload.read_nowait()
        return self._body

    @property
    def payload(self) -> StreamReader:
        """The body for another reader."""
        return self._payload if self._body is None else self._connection.copy_body(self._body)

    def begin(self) -> None:
        """Mark the request as in progress. From now on it must be responded to, sooner or later."""
        self.request_id = request_id_from(self.headers)
        IN_FLIGHT.inc()

    def respond(self, route: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Send the response and count it; no value of the headers may contain a line break."""
        head = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        is_sent = self._connection.end_exchange(
            f"{_STATUS_LINES[status]}{head}{X_REQUEST_ID}: {self.request_id}\r\nContent-Length: {len(body)}\r\n"
            f"Date: {rfc822_formatted_time()}\r\nServer: {SERVER_SOFTWARE}\r\n\r\n".encode()
            + body
        )
        IN_FLIGHT.dec()
        # A server error remains one: it may be the reason why the client has reset the connection.
        is_counted = is_sent or status >= HTTPStatus.INTERNAL_SERVER_ERROR
        _ROUTE_METRICS.observe(
            self.message.method,
            route,
            status if is_counted else DISCONNECTED,
            took_s=monotonic() - self._started_at,
            body_bytes=len(body) if is_counted else None,
        )


# Returns whether it has begun the exchange and will respond; if not, it must not have had any effect.
DirectHandler = Callable[[Exchange], bool]
