"""HTTP server and application, the same in every service: request ids, problems, metrics, two ports."""

import asyncio
import os
import re
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from time import monotonic
from typing import Any

import msgspec
from aiohttp import StreamReader, http_parser, web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from multidict import istr
from prometheus_client.exposition import choose_encoder

from services.chassis.http.listener import MAX_BODY_READ_BYTES, MAX_HEAD_READ_BYTES, BoundedReader, Site
from services.chassis.http.request_metrics import IN_FLIGHT, RouteMetrics
from services.chassis.runtime import metrics
from services.chassis.runtime.errors import Problem, UnavailableError
from services.chassis.runtime.health import Health
from services.chassis.runtime.logs import bind, logger

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

REQUEST_ID = web.RequestKey("request_id", str)
PROBLEM_JSON = "application/problem+json"
# Different on purpose: aiohttp's error names only the limit that was exceeded.
MAX_REQUEST_LINE_BYTES = 16 * 1024
MAX_HEADER_BYTES = 16 * 1024 + 64
REQUEST_HEAD_TIMEOUT_S = 10.0
# A connection is not read while its handler has twice as much left.
READ_AHEAD_BYTES = 2 * 1024
# Headers are found faster by such names.
_X_REQUEST_ID, _TRACEPARENT = istr("X-Request-Id"), istr("traceparent")
_REQUEST_ID_PATTERN = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_TRACEPARENT_PATTERN = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_LOG = logger(__name__)


def json_response(
    body: object, *, status: int = 200, headers: Mapping[str, str] | None = None, content_type: str = "application/json"
) -> web.Response:
    """Return `body` as JSON; keys keep their order."""
    return web.Response(
        body=msgspec.json.encode(body), status=status, headers=headers, content_type=content_type, charset="utf-8"
    )


def problem_response(problem: Problem, *, request_id: str) -> web.Response:
    """Return the problem as RFC 9457 defines it."""
    document: dict[str, Any] = {
        "type": f"urn:tillstream:problem:{problem.code.lower().replace('_', '-')}",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "instance": f"urn:tillstream:request:{request_id}",
        "code": problem.code,
        "requestId": request_id,
        **problem.extra,
    }
    if problem.errors:
        document["errors"] = [{"pointer": e.pointer, "code": e.code, "detail": e.detail} for e in problem.errors]
    return web.Response(
        body=msgspec.json.encode(document), status=problem.status, headers=problem.headers, content_type=PROBLEM_JSON
    )


def unavailable_problem(error: UnavailableError) -> Problem:
    """Return a 503 with `Retry-After`."""
    return Problem(
        503, "UNAVAILABLE", f"{error}; nothing was lost, try again", headers={"Retry-After": str(error.retry_after_s)}
    )


def traceparent(request: web.Request) -> str | None:
    """Return the caller's W3C trace context, if it is well-formed."""
    header = request.headers.get(_TRACEPARENT)
    return header if header and _TRACEPARENT_PATTERN.fullmatch(header) else None


def _request_id(request: web.BaseRequest) -> str:
    header = request.headers.get(_X_REQUEST_ID)
    return header if header and _REQUEST_ID_PATTERN.fullmatch(header) else _new_request_id()


def _new_request_id() -> str:
    return os.urandom(16).hex()


def _http_problem(error: web.HTTPException) -> Problem:
    """Convert aiohttp's own error responses."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        methods = sorted(error.allowed_methods - {"HEAD"})
        allowed = ", ".join(methods)
        return Problem(
            405, "METHOD_NOT_ALLOWED", f"use {allowed} here (with curl: -X {methods[0]})", headers={"Allow": allowed}
        )
    if error.status == 404:
        return Problem(404, "NOT_FOUND", "no such route")
    if error.status == 413:
        return Problem(413, "PAYLOAD_TOO_LARGE", "the body is too large for this route")
    code = HTTPStatus(error.status).name
    return Problem(error.status, code, HTTPStatus(error.status).phrase)


def _request_middleware() -> Any:
    """Return the one middleware of every request: nesting several would cost more than their work."""
    route_metrics = RouteMetrics()

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        started_at = monotonic()
        request_id = _request_id(request)
        request[REQUEST_ID] = request_id
        _bind(request, request_id)
        IN_FLIGHT.inc()
        response: web.StreamResponse | None = None
        try:
            response = await _respond(request, handler, request_id)
            if not response.prepared:
                response.headers[_X_REQUEST_ID] = request_id
            return response
        finally:
            IN_FLIGHT.dec()
            # A client that has reset the connection counts as 499. A server error remains one: it may be the reason.
            disconnected = request.transport is None and (response is None or response.status < 500)
            route_metrics.observe(request, None if disconnected else response, monotonic() - started_at)

    return middleware


def _bind(request: web.Request, request_id: str) -> None:
    trace = traceparent(request)
    if trace is None:
        bind(requestId=request_id)
    else:
        bind(requestId=request_id, traceparent=trace)


@web.middleware
async def _operations_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The middleware of the operations port, whose requests are not measured."""
    request_id = _request_id(request)
    response = await _respond(request, handler, request_id)
    response.headers[_X_REQUEST_ID] = request_id
    return response


async def _respond(request: web.Request, handler: Handler, request_id: str) -> web.StreamResponse:
    try:
        return await handler(request)
    except Problem as error:
        problem = error
        _drop_traceback(problem)
    except UnavailableError as error:
        problem = unavailable_problem(error)
    except web.HTTPException as error:
        if error.status < 400:
            # Raised again, it would bypass the middleware.
            return web.Response(status=error.status, headers=error.headers)
        problem = _http_problem(error)
    except web.RequestPayloadError as error:
        _drop_traceback(error)
        problem = Problem(400, "BAD_REQUEST", "the body does not match its headers", headers={"Connection": "close"})
    except Exception as error:
        if isinstance(error, ConnectionError) and (request.transport is None or request.transport.is_closing()):
            raise  # the client has disconnected; any other ConnectionError is a defect
        _LOG.exception("request failed", method=request.method)
        problem = _internal_error(500)
    return problem_response(problem, request_id=request_id)


def _drop_traceback(error: BaseException | None) -> None:
    """Break a cycle: the exception is kept by its body or in a frame, whose request has the body."""
    if error is not None:
        error.__traceback__ = None


def _internal_error(status: int) -> Problem:
    return Problem(status, "INTERNAL_ERROR", "internal error; please report the request id")


def build_application(routes: Sequence[web.AbstractRouteDef], *, max_body_bytes: int = 1024**2) -> web.Application:
    """Return an application with these routes and the middleware."""
    app = web.Application(middlewares=[_request_middleware()], client_max_size=max_body_bytes)
    app.add_routes(routes)
    return app


class _Protocol(web.RequestHandler):
    """Answers requests that the HTTP parser rejects, without echoing them, and disconnects clients that stall.

    A client that closes only its sending side still gets the responses to the requests that it has sent.
    """

    __slots__ = ("_half_closed", "_head_timeout", "_is_response_due", "_last_body")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_timeout: asyncio.TimerHandle | None = None
        self._last_body: StreamReader | None = None
        self._is_response_due = False
        self._half_closed = False

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
        super().data_received(data)
        if self._messages:
            self._last_body = self._messages[-1][1]
            self._is_response_due = True
        # While waiting for a request, data is a part of its head. The whole head must arrive in time.
        if self._waiter is None or self._waiter.done():
            self._cancel_head_timeout()
        elif self._head_timeout is None:
            self._head_timeout = self._loop.call_later(REQUEST_HEAD_TIMEOUT_S, self._on_head_timeout)

    def eof_received(self) -> bool:  # type: ignore[override] # aiohttp's returns None, which closes the connection
        """Keep the connection while responses are due."""
        self._half_closed = True
        if self._last_body is not None and not self._last_body.is_eof():
            self._last_body.set_exception(web.RequestPayloadError("the body is shorter than declared"))
            # Nothing is left to discard after the response.
            self._last_body.feed_eof()
        return self._is_response_due

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Close the connection after the last response to a client that has closed its sending side."""
        result = await super().finish_response(request, resp, start_time)
        content = request.content
        if content.is_eof() and content.exception() is None:
            # An idle connection would keep what the handler did not read.
            content.read_nowait()
        if not self._messages:
            self._is_response_due = False
            if self._half_closed:
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
        if self._waiter is not None and not self._waiter.done():
            self.force_close()

    def log_exception(self, *args: Any, **kwargs: Any) -> None:
        """Log an exception, except that a body ends early that is discarded anyway."""
        error = kwargs.get("exc_info")
        if isinstance(error, web.RequestPayloadError):
            _drop_traceback(error)
        else:
            super().log_exception(*args, **kwargs)

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        del message
        if request.writer.output_size > 0:
            raise ConnectionError("the response has already begun")
        request_id = _new_request_id()
        # A ConnectionError that reaches this point is a disconnected client: see `_respond`.
        if not isinstance(exc, HttpProcessingError | ConnectionError):
            _LOG.error("request failed", requestId=request_id, exc_info=exc)
        response = problem_response(_parser_problem(status, exc), request_id=request_id)
        response.headers[_X_REQUEST_ID] = request_id
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
    return _internal_error(status)


class _Server(web.Server):
    """aiohttp's server with our protocol."""

    def __call__(self) -> asyncio.BufferedProtocol:  # type: ignore[override] # the event loop takes both
        return BoundedReader(_Protocol(self, loop=self._loop, **self._kwargs))


class _Runner(web.AppRunner):
    """aiohttp's runner with our server."""

    async def _make_server(self) -> web.Server:
        base = await super()._make_server()
        return _Server(base.request_handler, request_factory=base.request_factory, loop=base._loop, **base._kwargs)  # noqa: SLF001 - aiohttp offers no other seam for parser errors


class HttpServer:
    """An application on a port. When it stops, it closes the port first and then waits for requests in progress."""

    def __init__(self, app: web.Application, *, host: str, port: int, drain_s: float = 5.0) -> None:
        if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
            raise RuntimeError("aiohttp's C parser is missing; its Python parser is not for production")
        self._runner = _Runner(
            app,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=75.0,
            max_field_size=MAX_HEADER_BYTES,
            max_line_size=MAX_REQUEST_LINE_BYTES,
            lingering_time=1.0,
            read_bufsize=READ_AHEAD_BYTES,
            shutdown_timeout=drain_s,
        )
        self._host = host
        self._port = port

    @property
    def address(self) -> str:
        """The bound `host:port`, once started."""
        host, port = self._runner.addresses[0][:2]
        return f"{host}:{port}"

    async def start(self) -> None:
        """Start to listen."""
        await self._runner.setup()
        await Site(self._runner, self._host, self._port).start()
        _LOG.info("listening", address=self.address)

    async def stop(self) -> None:
        """Stop listening, wait for requests in progress, close."""
        await self._runner.cleanup()


def operations_server(health: Health, *, host: str, port: int) -> HttpServer:
    """Return the server of `/live`, `/ready` and `/metrics`, on a port of its own."""

    async def live(_request: web.Request) -> web.Response:
        return _health_response(health.liveness())

    async def ready(_request: web.Request) -> web.Response:
        return _health_response(health.readiness())

    async def exposition(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(metrics.REGISTRY), headers={"Content-Type": content_type})

    app = web.Application(middlewares=[_operations_middleware])
    app.add_routes([web.get("/live", live), web.get("/ready", ready), web.get("/metrics", exposition)])
    return HttpServer(app, host=host, port=port, drain_s=1.0)


def _health_response(checks: Mapping[str, bool]) -> web.Response:
    ok = all(checks.values())
    return json_response({"ok": ok, "parts": dict(checks)}, status=200 if ok else 503)
