"""Responses as every service gives them: JSON, problems, and the id of the request."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web
from multidict import istr

from services.chassis.runtime.errors import Problem, UnavailableError
from services.chassis.runtime.random_bytes import random_bytes

REQUEST_ID = web.RequestKey("request_id", str)
PROBLEM_JSON = "application/problem+json"
# Looking up headers is faster with names of this type.
X_REQUEST_ID, TRACEPARENT = istr("X-Request-Id"), istr("traceparent")
_REQUEST_ID_PATTERN = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_TRACEPARENT_PATTERN = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


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


def internal_error(status: int) -> Problem:
    """Return the problem for an internal error."""
    return Problem(status, "INTERNAL_ERROR", "internal error; please report the request id")


def request_id_from(headers: Mapping[str, str]) -> str:
    """Return the caller's id of the request, or a new one."""
    header = headers.get(X_REQUEST_ID)
    return header if header and _REQUEST_ID_PATTERN.fullmatch(header) else new_request_id()


def new_request_id() -> str:
    """Return a random id."""
    return random_bytes().hex()


def traceparent_from(headers: Mapping[str, str]) -> str | None:
    """Return the caller's W3C trace context, if it is well-formed."""
    header = headers.get(TRACEPARENT)
    return header if header and _TRACEPARENT_PATTERN.fullmatch(header) else None
