"""Whatever is refused, and even what is not HTTP, is answered with a problem that echoes nothing."""

import json

import aiohttp
import pytest

from services.chassis.http.responses import unavailable_problem
from services.chassis.runtime.errors import ContentionError
from tests.chassis.http.server_fixtures import CANARY, a_problem, address, client, exchange

__all__ = ["address", "client"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "headers"),
    [
        ("GET", "/nowhere", 404, "NOT_FOUND", {}),
        ("PUT", "/things", 405, "METHOD_NOT_ALLOWED", {"Allow": "POST"}),
        ("PURGE", "/things/1", 405, "METHOD_NOT_ALLOWED", {"Allow": "GET"}),
        ("GET", "/raise/away", 503, "UNAVAILABLE", {"Retry-After": "7"}),
        ("GET", "/raise/unauthorized", 401, "UNAUTHORIZED", {"WWW-Authenticate": 'Bearer error="invalid_token"'}),
        ("GET", "/raise/no-token", 401, "UNAUTHORIZED", {"WWW-Authenticate": "Bearer"}),
        ("GET", "/raise/forbidden", 403, "FORBIDDEN", {"WWW-Authenticate": 'Bearer error="insufficient_scope"'}),
        ("GET", "/raise/teapot", 415, "UNSUPPORTED_MEDIA_TYPE", {}),
        ("GET", "/raise/defect", 500, "INTERNAL_ERROR", {}),
        ("GET", "/raise/refused", 500, "INTERNAL_ERROR", {}),
        ("GET", "/raise/timeout", 500, "INTERNAL_ERROR", {}),
    ],
)
async def test_a_refusal_is_a_problem(
    client: aiohttp.ClientSession, method: str, path: str, status: int, code: str, headers: dict[str, str]
) -> None:
    async with client.request(method, path) as response:
        assert response.status == status
        assert (await a_problem(response))["code"] == code
        assert headers.items() <= response.headers.items()
        assert CANARY not in await response.text()


async def test_a_body_that_is_too_large_is_a_problem(client: aiohttp.ClientSession) -> None:
    async with client.post("/things", data=b"x" * 1_001) as response:
        assert response.status == 413
        assert (await a_problem(response))["code"] == "PAYLOAD_TOO_LARGE"


async def test_a_problem_lists_the_bodys_faults_and_what_else_there_is(client: aiohttp.ClientSession) -> None:
    async with client.get("/raise/faults") as response:
        assert response.headers["X-More"] == "1"
        document = await a_problem(response)
    assert document["jobId"] == "j1"
    assert document["errors"] == [
        {"pointer": "/0/id", "code": "MISSING", "detail": "is missing"},
        {"pointer": "", "code": "EMPTY", "detail": "is empty"},
    ]


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        pytest.param(b"canary-5d1f\r\n\r\n", "400", "BAD_REQUEST", id="request line"),
        pytest.param(b"GET / HTTP/9.canary-5d1f\r\n\r\n", "400", "BAD_REQUEST", id="version"),
        pytest.param(b"G@T /canary-5d1f HTTP/1.1\r\nHost: x\r\n\r\n", "400", "BAD_REQUEST", id="method"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\ncanary-5d1f\r\n\r\n", "400", "BAD_REQUEST", id="header"),
        pytest.param(
            b"GET / HTTP/1.1\r\nHost: x\r\nA: canary-5d1f" + b"x" * 20_000 + b"\r\n\r\n",
            "431",
            "HEADER_TOO_LARGE",
            id="value",
        ),
        pytest.param(
            b"GET / HTTP/1.1\r\nHost: x\r\n" + b"canary-5d1f" * 2_000 + b": 1\r\n\r\n",
            "431",
            "HEADER_TOO_LARGE",
            id="name",
        ),
        pytest.param(
            b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: canary-5d1f\r\n" * 200 + b"\r\n",
            "431",
            "HEADER_TOO_LARGE",
            id="many",
        ),
        pytest.param(b"GET /canary-5d1f" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n", "414", "URI_TOO_LONG", id="address"),
        pytest.param(
            b"POST /things HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "400",
            "BAD_REQUEST",
            id="two lengths",
        ),
        pytest.param(
            b"POST /things HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\ncanary-5d1f\r\n",
            "400",
            "BAD_REQUEST",
            id="chunk",
        ),
    ],
)
async def test_what_is_not_http_is_refused_without_an_echo(address: str, sent: bytes, status: str, code: str) -> None:
    line, headers, body = await exchange(address, sent)
    assert line.split()[1] == status
    assert headers["content-type"] == "application/problem+json"
    document = json.loads(body)
    assert document["code"] == code
    assert document["requestId"] == headers["x-request-id"]
    assert b"canary" not in body


async def test_a_header_field_of_16_kib_is_read(client: aiohttp.ClientSession) -> None:
    async with client.get("/things/1", headers={"Authorization": "x" * 16_384}) as response:
        assert response.status == 200


def test_a_lost_race_is_answered_like_an_outage_and_says_that_the_store_is_busy() -> None:
    problem = unavailable_problem(ContentionError("the job store", retry_after_s=1))
    assert (problem.status, problem.code, problem.headers) == (503, "UNAVAILABLE", {"Retry-After": "1"})
    assert problem.detail == "the job store is busy; nothing was lost, try again"
