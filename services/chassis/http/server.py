"""HTTP, the same in every service: request ids, problems, metrics, two ports."""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from time import monotonic
from typing import Any
from uuid import uuid4

import msgspec
import structlog
from aiohttp import http_parser, web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from prometheus_client import Counter, Histogram
from prometheus_client.exposition import choose_encoder

from services.chassis.runtime import metrics
from services.chassis.runtime.errors import Problem, UnavailableError
from services.chassis.runtime.health import Health
from services.chassis.runtime.logs import bind, logger

SECONDS = metrics.histogram(
    "http_request_seconds",
    "Duration of a request; status 499 stands for a client that left.",
    ["method", "route", "status"],
)
IN_FLIGHT = metrics.gauge("http_requests_in_flight", "Requests being answered.")
RESPONSE_BYTES = metrics.counter("http_response_bytes_total", "Bytes of answers' bodies.", ["route"])

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

REQUEST_ID = web.RequestKey("request_id", str)
PROBLEM_JSON = "application/problem+json"
# Which of the two was too long can be told only from the limit that aiohttp names.
MAX_REQUEST_LINE_BYTES = 16 * 1024
MAX_HEADER_BYTES = 16 * 1024 + 64
REQUEST_HEAD_TIMEOUT_S = 10.0
_SANE_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_SANE_TRACE = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_LOG = logger(__name__)


def json_response(
    body: object, *, status: int = 200, headers: Mapping[str, str] | None = None, content_type: str = "application/json"
) -> web.Response:
    """`body` as JSON, keys in their order."""
    return web.Response(
        body=msgspec.json.encode(body), status=status, headers=headers, content_type=content_type, charset="utf-8"
    )


def problem_response(problem: Problem, *, request_id: str) -> web.Response:
    """A refusal as RFC 9457 has it."""
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
        body=msgspec.json.encode(document),
        status=problem.status,
        headers=problem.headers,
        content_type=PROBLEM_JSON,
    )


def unavailable_problem(away: UnavailableError) -> Problem:
    """503 with a time to try again."""
    return Problem(
        503,
        "UNAVAILABLE",
        f"{away}; nothing was lost, try again",
        headers={"Retry-After": str(away.retry_after_s)},
    )


def traceparent(request: web.Request) -> str | None:
    """The caller's W3C trace context, if it is well-formed."""
    given = request.headers.get("traceparent", "")
    return given if _SANE_TRACE.fullmatch(given) else None


def _request_id(request: web.BaseRequest) -> str:
    given = request.headers.get("X-Request-Id", "")
    return given if _SANE_ID.fullmatch(given) else uuid4().hex


def _http_problem(error: web.HTTPException) -> Problem:
    """What the router refuses, in our words."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        first, *_ = allowing = sorted(error.allowed_methods - {"HEAD"})
        allowed = ", ".join(allowing)
        return Problem(
            405, "METHOD_NOT_ALLOWED", f"use {allowed} here (with curl: -X {first})", headers={"Allow": allowed}
        )
    if error.status == 404:
        return Problem(404, "NOT_FOUND", "there is nothing at this address")
    if error.status == 413:
        return Problem(413, "PAYLOAD_TOO_LARGE", "the body is larger than is taken here")
    code = HTTPStatus(error.status).name
    return Problem(error.status, code, HTTPStatus(error.status).phrase)


class _RouteMetrics:
    """Metric children by (method, route, status), looked up once each."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[str, str, int], Histogram] = {}
        self._bytes: dict[str, Counter] = {}

    def observe(self, request: web.Request, response: web.StreamResponse | None, took_s: float) -> None:
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else "unmatched"
        method = request.method if request.method in _METHODS else "other"
        status = response.status if response is not None else 499
        key = (method, route, status)
        seconds = self._seconds.get(key)
        if seconds is None:
            seconds = self._seconds[key] = SECONDS.labels(method, route, str(status))
        seconds.observe(took_s)
        if isinstance(response, web.Response) and isinstance(response.body, bytes):
            total = self._bytes.get(route)
            if total is None:
                total = self._bytes[route] = RESPONSE_BYTES.labels(route)
            total.inc(len(response.body))


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _around_each_request() -> Any:
    """One middleware for what every request needs: nesting several costs more than they do."""
    route_metrics = _RouteMetrics()

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        began = monotonic()
        request_id = _request_id(request)
        request[REQUEST_ID] = request_id
        _bind(request, request_id)
        IN_FLIGHT.inc()
        response: web.StreamResponse | None = None
        try:
            response = await _answer(request, handler, request_id)
            if not response.prepared:
                response.headers["X-Request-Id"] = request_id
            return response
        finally:
            IN_FLIGHT.dec()
            # Who has left gets no answer, but a failure of ours remains one: many leave because it took too long.
            is_left = request.transport is None and (response is None or response.status < 500)
            route_metrics.observe(request, None if is_left else response, monotonic() - began)
            # The next request on this connection runs in the same context: what handlers have bound must go, too.
            structlog.contextvars.clear_contextvars()

    return middleware


def _bind(request: web.Request, request_id: str) -> None:
    trace = traceparent(request)
    if trace is None:
        bind(requestId=request_id)
    else:
        bind(requestId=request_id, traceparent=trace)


@web.middleware
async def _around_operations(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Likewise for the operations port, whose own traffic nobody wants to see in the metrics."""
    request_id = _request_id(request)
    response = await _answer(request, handler, request_id)
    response.headers["X-Request-Id"] = request_id
    return response


async def _answer(request: web.Request, handler: Handler, request_id: str) -> web.StreamResponse:
    try:
        return await handler(request)
    except Problem as problem:
        refusal = problem
    except UnavailableError as away:
        refusal = unavailable_problem(away)
    except web.HTTPException as error:
        if error.status < 400:
            # Raised, aiohttp would send it as it is, past everything that is the same for all answers.
            return web.Response(status=error.status, headers=error.headers)
        refusal = _http_problem(error)
    except web.RequestPayloadError:
        refusal = Problem(
            400, "BAD_REQUEST", "the body is not sent as its headers say", headers={"Connection": "close"}
        )
    except Exception as error:
        if isinstance(error, ConnectionError) and (request.transport is None or request.transport.is_closing()):
            raise  # the client is gone; a ConnectionError of anybody else's is our defect
        # A defect is answered without a word of it.
        _LOG.exception("request failed", method=request.method)
        refusal = Problem(500, "INTERNAL_ERROR", "this is our mistake; the request id helps to find it")
    return problem_response(refusal, request_id=request_id)


def build_application(routes: Sequence[web.AbstractRouteDef], *, max_body_bytes: int = 1024**2) -> web.Application:
    """An API of these routes, with everything that is the same for all."""
    app = web.Application(middlewares=[_around_each_request()], client_max_size=max_body_bytes)
    app.add_routes(routes)
    return app


class _Protocol(web.RequestHandler):
    """Answers what the HTTP parser refuses without echoing any of it, and lets go of clients that stand still."""

    __slots__ = ("_impatience",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._impatience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        # The kernel gives up on a client that does not take its answer.
        connection = transport.get_extra_info("socket")
        with suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(REQUEST_HEAD_TIMEOUT_S * 1000))

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # Still waiting for a request: what came is a part of its head. The whole head must come in time.
        if self._waiter is None or self._waiter.done():
            self._cancel_head_timeout()
        elif self._impatience is None:
            self._impatience = self._loop.call_later(REQUEST_HEAD_TIMEOUT_S, self._on_head_timeout)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._cancel_head_timeout()
        super().connection_lost(exc)

    def _cancel_head_timeout(self) -> None:
        if self._impatience is not None:
            self._impatience.cancel()
            self._impatience = None

    def _on_head_timeout(self) -> None:
        self._impatience = None
        if self._waiter is not None and not self._waiter.done():
            self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        del message
        if request.writer.output_size > 0:
            raise ConnectionError("the answer had begun already")
        request_id = uuid4().hex
        # A ConnectionError that comes this far is a client's that has left: see `_answer`.
        if not isinstance(exc, HttpProcessingError | ConnectionError):
            _LOG.error("request failed", requestId=request_id, exc_info=exc)
        response = problem_response(_parser_problem(status, exc), request_id=request_id)
        response.headers["X-Request-Id"] = request_id
        response.force_close()
        return response


def _parser_problem(status: int, exc: BaseException | None) -> Problem:
    if isinstance(exc, LineTooLong):
        if exc.args[1] == MAX_REQUEST_LINE_BYTES:
            return Problem(414, "URI_TOO_LONG", f"at most {MAX_REQUEST_LINE_BYTES} bytes of address are read")
        return Problem(431, "HEADER_TOO_LARGE", f"header fields of at most {MAX_REQUEST_LINE_BYTES} bytes are read")
    if isinstance(exc, HttpProcessingError) and exc.message == "Too many headers received":
        return Problem(431, "HEADER_TOO_LARGE", "there are too many header fields")
    if status < 500:
        return Problem(status, "BAD_REQUEST", "the request is not HTTP that can be read here")
    return Problem(status, "INTERNAL_ERROR", "this is our mistake; the request id helps to find it")


class _Server(web.Server):
    """aiohttp's server with our protocol."""

    def __call__(self) -> web.RequestHandler:
        return _Protocol(self, loop=self._loop, **self._kwargs)


class _Runner(web.AppRunner):
    """aiohttp's runner with our server."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(made.request_handler, request_factory=made.request_factory, loop=made._loop, **made._kwargs)  # noqa: SLF001 - aiohttp offers no other seam for parser errors


class HttpServer:
    """An application on a port. Stops accepting first, then lets requests in flight end."""

    def __init__(self, app: web.Application, *, host: str, port: int, drain_s: float = 5.0) -> None:
        if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
            raise RuntimeError("aiohttp's C parser is not there; its Python parser is not for production")
        self._runner = _Runner(
            app,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=75.0,
            max_field_size=MAX_HEADER_BYTES,
            max_line_size=MAX_REQUEST_LINE_BYTES,
            lingering_time=1.0,
            shutdown_timeout=drain_s,
        )
        self._host = host
        self._port = port

    @property
    def address(self) -> str:
        """`host:port`, once started."""
        host, port = self._runner.addresses[0][:2]
        return f"{host}:{port}"

    async def start(self) -> None:
        """Listen."""
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port, backlog=1024).start()
        _LOG.info("listening", address=self.address)

    async def stop(self) -> None:
        """Stop listening, let requests in flight end, close."""
        await self._runner.cleanup()


def operations_server(health: Health, *, host: str, port: int) -> HttpServer:
    """`/live`, `/ready` and `/metrics`, on a port of their own."""

    async def live(_request: web.Request) -> web.Response:
        return _verdict(health.liveness())

    async def ready(_request: web.Request) -> web.Response:
        return _verdict(health.readiness())

    async def exposed(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(metrics.REGISTRY), headers={"Content-Type": content_type})

    app = web.Application(middlewares=[_around_operations])
    app.add_routes([web.get("/live", live), web.get("/ready", ready), web.get("/metrics", exposed)])
    return HttpServer(app, host=host, port=port, drain_s=1.0)


def _verdict(parts: Mapping[str, bool]) -> web.Response:
    good = all(parts.values())
    return json_response({"ok": good, "parts": dict(parts)}, status=200 if good else 503)
