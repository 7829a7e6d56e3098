"""Connections of the HTTP server: bounds of size and time, and requests that bypass aiohttp's handling."""

import asyncio
import socket
from contextlib import suppress
from typing import Any

from aiohttp import StreamReader, web
from aiohttp.http import HttpVersion11, RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from services.chassis.http.direct import DirectHandler, Exchange
from services.chassis.http.listener import MAX_BODY_READ_BYTES, MAX_HEAD_READ_BYTES, BoundedReader
from services.chassis.http.responses import X_REQUEST_ID, internal_error, new_request_id, problem_response
from services.chassis.runtime.errors import Problem
from services.chassis.runtime.logs import logger

# Different on purpose: aiohttp's error names only the limit that was exceeded.
MAX_REQUEST_LINE_BYTES = 16 * 1024
MAX_HEADER_BYTES = 16 * 1024 + 64
REQUEST_HEAD_TIMEOUT_S = 10.0
# A connection is not read while its handler has twice as much left.
READ_AHEAD_BYTES = 2 * 1024
# More than any body that a direct handler reads, so that reading never pauses for the copy.
MAX_COPIED_BYTES = 1024 * 1024
_LOG = logger(__name__)


def drop_traceback(error: BaseException | None) -> None:
    """Break a cycle: the exception is kept by its body or in a frame, whose request has the body."""
    if error is not None:
        error.__traceback__ = None


class _Protocol(web.RequestHandler):
    """Answers requests that the HTTP parser rejects, without echoing them, and disconnects clients that stall.

    A client that closes only its sending side still gets the responses to the requests that it has sent. A `direct`
    handler is asked first about each request that arrives as a whole while the connection is idle.
    """

    __slots__ = (
        "_answered",
        "_direct",
        "_half_closed",
        "_head_timeout",
        "_held",
        "_in_exchange",
        "_last_body",
        "_parked_waiter",
    )

    def __init__(self, *args: Any, direct: DirectHandler | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._direct = direct
        self._head_timeout: asyncio.TimerHandle | None = None
        self._last_body: StreamReader | None = None
        self._half_closed = False
        self._answered = 0
        # Whether the direct handler has the request; what arrives meanwhile is held back from aiohttp.
        self._in_exchange = False
        self._held: list[Any] = []
        self._parked_waiter: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        # The kernel disconnects a client that does not read its response.
        connection = transport.get_extra_info("socket")
        with suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(REQUEST_HEAD_TIMEOUT_S * 1000))

    @property
    def max_read_bytes(self) -> int:
        """How much to read of the connection at once."""
        # The empty body of a request without one is of another type.
        is_awaited = getattr(self._last_body, "_waiter", None) is not None
        return MAX_BODY_READ_BYTES if is_awaited else MAX_HEAD_READ_BYTES

    def data_received(self, data: bytes) -> None:
        # Without its waiter aiohttp does not begin with the messages that it parses.
        waiter, self._waiter = self._waiter, None
        queued = len(self._messages)
        super().data_received(data)
        self._waiter = waiter
        if len(self._messages) > queued:
            self._last_body = self._messages[-1][1]
            if self._in_exchange:
                self._hold_messages()
            elif not self._begin_exchange():
                self._wake()
        # While waiting for a request, data is a part of its head. The whole head must arrive in time.
        if not self._is_idle:
            self._cancel_head_timeout()
        elif self._head_timeout is None:
            self._head_timeout = self._loop.call_later(REQUEST_HEAD_TIMEOUT_S, self._on_head_timeout)

    def _hold_messages(self) -> None:
        """Keep what a client sends without waiting for the response; stop reading where aiohttp would."""
        self._held.extend(self._messages)
        self._messages.clear()
        if len(self._held) >= self._max_msg_queue_size and not self._buffer_paused:
            self._pause_reading_for_buffer()

    @property
    def _unanswered(self) -> int:
        """Requests that have arrived and were not responded to."""
        return self._request_count - self._answered

    @property
    def _is_idle(self) -> bool:
        return self._waiter is not None and not self._waiter.done() and not self._in_exchange

    def _wake(self) -> None:
        """Let aiohttp begin with the next message."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _begin_exchange(self) -> bool:
        """Offer a request to the direct handler, if it is the only one; return whether it has taken it."""
        if self._direct is None or self._unanswered > 1:
            return False
        message, payload = self._messages[0]
        if (
            type(message) is not RawRequestMessage
            or message.should_close
            or message.version != HttpVersion11
            or not payload.is_eof()
            or self._paused
        ):
            return False
        exchange = Exchange(self, message, payload)
        self._messages.popleft()
        if not self._offer(self._direct, exchange):
            self._messages.append((message, exchange.payload))
            return False
        if self._parser is not None:
            self._parser.message_consumed()
        self._in_exchange = self._request_in_progress = True
        # Without it a disconnected client would end aiohttp's task, and with it the server's wait for the exchange.
        self._parked_waiter, self._waiter = self._waiter, None
        return True

    def _offer(self, handle: DirectHandler, exchange: Exchange) -> bool:
        try:
            return handle(exchange)
        except Exception:  # noqa: BLE001 - a defect; the route's own handler responds
            _LOG.exception("direct handler failed")
            return False

    def end_exchange(self, response: bytes) -> bool:
        """Send the direct handler's response and go on as aiohttp does; return False if the client has disconnected."""
        transport = self.transport
        is_connected = transport is not None and not transport.is_closing()
        if transport is not None and is_connected:
            transport.write(response)
        self._in_exchange = self._request_in_progress = False
        # aiohttp may have begun to wait since.
        self._waiter, self._parked_waiter = self._waiter or self._parked_waiter, None
        self._answered += 1
        self._messages.extend(self._held)
        self._held.clear()
        if self._handler_waiter is not None and not self._handler_waiter.done():
            self._handler_waiter.set_result(None)
        if self._close or self._force_close or not is_connected or (self._half_closed and not self._messages):
            self.close()
            if transport is not None:
                transport.close()
        else:
            self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
            if self._messages:
                self._wake()
        return is_connected

    def _process_keepalive(self) -> None:
        if self._in_exchange:
            self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        super()._process_keepalive()

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002 - aiohttp's signature
        """Resume reading if anything may be left to read; aiohttp asks for it each time a body has been read.

        The parser may stay paused when reading is not: it then goes on only when it is asked to.
        """
        if self._reading_paused or (self._last_body is not None and not self._last_body.is_eof()):
            super().resume_reading(resume_parser)

    def copy_body(self, body: bytes) -> StreamReader:
        """Return a reader of a body that has been read."""
        copy = StreamReader(self, MAX_COPIED_BYTES, loop=self._loop)
        copy.feed_data(body)
        copy.feed_eof()
        return copy

    def eof_received(self) -> bool:  # type: ignore[override] # aiohttp's returns None, which closes the connection
        """Keep the connection while responses are due."""
        self._half_closed = True
        self._find_last_body()
        self._end_last_body()
        return self._unanswered > 0

    def _find_last_body(self) -> None:
        """Take notice of requests behind a declined upgrade: aiohttp parses them as it responds to that."""
        if self._messages:
            self._last_body = self._messages[-1][1]

    def _end_last_body(self) -> None:
        """End a body of which no more can arrive."""
        if self._last_body is not None and not self._last_body.is_eof():
            self._last_body.set_exception(web.RequestPayloadError("the body is shorter than declared"))
            # Nothing is left to discard after the response.
            self._last_body.feed_eof()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Close the connection after the last response to a client that has closed its sending side."""
        result = await super().finish_response(request, resp, start_time)
        self._find_last_body()
        if self._half_closed:
            self._end_last_body()
        content = request.content
        if content.is_eof() and content.exception() is None:
            # An idle connection would keep what the handler did not read.
            content.read_nowait()
        self._answered += 1
        if not resp.keep_alive:
            # aiohttp closes the connection next: the direct handler must not begin with what arrives meanwhile.
            self._direct = None
        if self._half_closed and not self._messages:
            self.close()
        return result

    def connection_lost(self, exc: BaseException | None) -> None:
        self._cancel_head_timeout()
        self._last_body = None
        super().connection_lost(exc)

    def _cancel_head_timeout(self) -> None:
        if self._head_timeout is not None:
            self._head_timeout.cancel()
            self._head_timeout = None

    def _on_head_timeout(self) -> None:
        self._head_timeout = None
        if self._is_idle:
            self.force_close()

    def log_exception(self, *args: Any, **kwargs: Any) -> None:
        """Log an exception, except that a body ends early that is discarded anyway."""
        error = kwargs.get("exc_info")
        if isinstance(error, web.RequestPayloadError):
            drop_traceback(error)
        else:
            super().log_exception(*args, **kwargs)

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        del message
        if request.writer.output_size > 0:
            raise ConnectionError("the response has already begun")
        request_id = new_request_id()
        # A ConnectionError that reaches this point is a disconnected client: see `_respond`.
        if not isinstance(exc, HttpProcessingError | ConnectionError):
            _LOG.error("request failed", requestId=request_id, exc_info=exc)
        response = problem_response(_parser_problem(status, exc), request_id=request_id)
        response.headers[X_REQUEST_ID] = request_id
        response.force_close()
        return response


def _parser_problem(status: int, exc: BaseException | None) -> Problem:
    if isinstance(exc, LineTooLong):
        if exc.args[1] == MAX_REQUEST_LINE_BYTES:
            return Problem(414, "URI_TOO_LONG", f"the request line may have at most {MAX_REQUEST_LINE_BYTES} bytes")
        return Problem(431, "HEADER_TOO_LARGE", f"a header field may have at most {MAX_REQUEST_LINE_BYTES} bytes")
    if isinstance(exc, HttpProcessingError) and exc.message == "Too many headers received":
        return Problem(431, "HEADER_TOO_LARGE", "too many header fields")
    if status < 500:
        return Problem(status, "BAD_REQUEST", "not a valid HTTP request")
    return internal_error(status)


class _Server(web.Server):
    """aiohttp's server with our protocol."""

    def __init__(self, base: web.Server, direct: DirectHandler | None) -> None:
        super().__init__(base.request_handler, request_factory=base.request_factory, loop=base._loop, **base._kwargs)  # noqa: SLF001 - aiohttp offers no other seam for parser errors
        self._direct = direct

    def __call__(self) -> asyncio.BufferedProtocol:  # type: ignore[override] # the event loop takes both
        return BoundedReader(_Protocol(self, loop=self._loop, direct=self._direct, **self._kwargs))


class Runner(web.AppRunner):
    """aiohttp's runner with our server."""

    def __init__(self, app: web.Application, *, direct: DirectHandler | None, **options: Any) -> None:
        super().__init__(app, **options)
        self._direct = direct

    async def _make_server(self) -> web.Server:
        return _Server(await super()._make_server(), self._direct)
