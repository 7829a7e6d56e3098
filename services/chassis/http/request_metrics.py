"""Metrics of HTTP requests."""

from aiohttp import web
from prometheus_client import Counter, Histogram

from services.chassis.runtime import metrics

SECONDS = metrics.histogram(
    "http_request_seconds",
    "Duration of a request; status 499 is a client that reset the connection.",
    ["method", "route", "status"],
)
IN_FLIGHT = metrics.gauge("http_requests_in_flight", "Requests in progress.")
RESPONSE_BYTES = metrics.counter("http_response_bytes_total", "Bytes of response bodies.", ["route"])

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RouteMetrics:
    """Metric children by (method, route, status), each looked up once."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[str, str, int], Histogram] = {}
        self._bytes: dict[str, Counter] = {}

    def observe(self, request: web.Request, response: web.StreamResponse | None, took_s: float) -> None:
        """Count a request; without a response the client has reset the connection."""
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
