"""Metrics of requests, the same in every service."""

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
# A client that reset the connection.
DISCONNECTED = 499


class RouteMetrics:
    """Counts requests; metric children are looked up once."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[str, str, int], Histogram] = {}
        self._bytes: dict[str, Counter] = {}

    def observe(self, method: str, route: str, status: int, *, took_s: float, body_bytes: int | None) -> None:
        """Count a request; `body_bytes` is None for a response whose size is not counted."""
        key = (method if method in _METHODS else "other", route, status)
        seconds = self._seconds.get(key)
        if seconds is None:
            seconds = self._seconds[key] = SECONDS.labels(key[0], route, str(status))
        seconds.observe(took_s)
        if body_bytes is not None:
            total = self._bytes.get(route)
            if total is None:
                total = self._bytes[route] = RESPONSE_BYTES.labels(route)
            total.inc(body_bytes)
