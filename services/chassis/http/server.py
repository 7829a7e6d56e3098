"""HTTP server and application, the same in every service: request ids, problems, metrics, two ports."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from time import monotonic
from typing import Any

from aiohttp import http_parser, web
from prometheus_client.exposition import choose_encoder

from services.chassis.http.direct import DirectHandler
from services.chassis.http.listener import Site
from services.chassis.http.protocol import (
    MAX_HEADER_BYTES,
    MAX_REQUEST_LINE_BYTES,
    READ_AHEAD_BYTES,
    Runner,
    drop_traceback,
)
from services.chassis.http.request_metrics import DISCONNECTED, IN_FLIGHT, RouteMetrics
from services.chassis.http.responses import (
    REQUEST_ID,
    X_REQUEST_ID,
    internal_error,
    json_response,
    problem_response,
    request_id_from,
    traceparent_from,
    unavailable_problem,
)
from services.chassis.runtime import metrics
from services.chassis.runtime.errors import Problem, UnavailableError
from services.chassis.runtime.health import Health
from services.chassis.runtime.logs import bind, logger

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_LOG = logger(__name__)


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
        request_id = request_id_from(request.headers)
        request[REQUEST_ID] = request_id
        _bind(request, request_id)
        IN_FLIGHT.inc()
        response: web.StreamResponse | None = None
        try:
            response = await _respond(request, handler, request_id)
            if not response.prepared:
                response.headers[X_REQUEST_ID] = request_id
            return response
        finally:
            IN_FLIGHT.dec()
            # A client that has reset the connection counts as 499. A server error remains one: it may be the reason.
            disconnected = request.transport is None and (response is None or response.status < 500)
            route_metrics.observe(
                request.method,
                _route(request),
                DISCONNECTED if disconnected or response is None else response.status,
                took_s=monotonic() - started_at,
                body_bytes=None if disconnected else _body_bytes(response),
            )

    return middleware


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "unmatched"


def _body_bytes(response: web.StreamResponse | None) -> int | None:
    return len(response.body) if isinstance(response, web.Response) and isinstance(response.body, bytes) else None


def _bind(request: web.Request, request_id: str) -> None:
    trace = traceparent_from(request.headers)
    if trace is None:
        bind(requestId=request_id)
    else:
        bind(requestId=request_id, traceparent=trace)


@web.middleware
async def _operations_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The middleware of the operations port, whose requests are not measured."""
    request_id = request_id_from(request.headers)
    response = await _respond(request, handler, request_id)
    response.headers[X_REQUEST_ID] = request_id
    return response


async def _respond(request: web.Request, handler: Handler, request_id: str) -> web.StreamResponse:
    try:
        return await handler(request)
    except Problem as error:
        problem = error
        drop_traceback(problem)
    except UnavailableError as error:
        problem = unavailable_problem(error)
    except web.HTTPException as error:
        if error.status < 400:
            # Raised again, it would bypass the middleware.
            return web.Response(status=error.status, headers=error.headers)
        problem = _http_problem(error)
    except web.RequestPayloadError as error:
        drop_traceback(error)
        problem = Problem(400, "BAD_REQUEST", "the body does not match its headers", headers={"Connection": "close"})
    except Exception as error:
        if isinstance(error, ConnectionError) and (request.transport is None or request.transport.is_closing()):
            raise  # the client has disconnected; any other ConnectionError is a defect
        _LOG.exception("request failed", method=request.method)
        problem = internal_error(500)
    return problem_response(problem, request_id=request_id)


def build_application(routes: Sequence[web.AbstractRouteDef], *, max_body_bytes: int = 1024**2) -> web.Application:
    """Return an application with these routes and the middleware."""
    app = web.Application(middlewares=[_request_middleware()], client_max_size=max_body_bytes)
    app.add_routes(routes)
    return app


class HttpServer:
    """An application on a port. When it stops, it closes the port first and then waits for requests in progress."""

    def __init__(
        self, app: web.Application, *, host: str, port: int, drain_s: float = 5.0, direct: DirectHandler | None = None
    ) -> None:
        """With `direct`, that handler is asked first about each request that it could answer."""
        if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
            raise RuntimeError("aiohttp's C parser is missing; its Python parser is not for production")
        self._runner = Runner(
            app,
            direct=direct,
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
