"""Bodies are bounded in size and time: 413 as soon as too much has come, 408 when the rest does not come."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from services.chassis.http.request_body import read_bounded, require_content_length, require_json
from services.chassis.http.responses import json_response
from services.chassis.http.server import build_application
from tests.chassis.http.server_fixtures import a_problem, exchange, listening

MAX_BYTES = 100
TIMEOUT_S = 0.2


async def read(request: web.Request) -> web.Response:
    require_json(request)
    require_content_length(request, max_bytes=MAX_BYTES, hint="; gzip helps")
    body = await read_bounded(request, max_bytes=MAX_BYTES, timeout_s=TIMEOUT_S, hint="; gzip helps")
    return json_response({"length": len(body)})


@pytest.fixture
async def address() -> AsyncIterator[str]:
    async with listening(build_application([web.post("/body", read)])) as server:
        yield server.address


async def test_a_body_up_to_the_bound_is_read(address: str) -> None:
    async with aiohttp.ClientSession(f"http://{address}") as client:
        response = await client.post("/body", data=b"x" * MAX_BYTES)
        assert (response.status, await response.json()) == (200, {"length": MAX_BYTES})


async def test_a_larger_body_is_refused_whether_its_length_is_declared_or_not(address: str) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"x" * MAX_BYTES
        yield b"x"

    async with aiohttp.ClientSession(f"http://{address}") as client:
        for body in (b"x" * (MAX_BYTES + 1), chunks()):
            problem = await a_problem(await client.post("/body", data=body))
            assert (problem["status"], problem["code"]) == (413, "PAYLOAD_TOO_LARGE")
            assert problem["detail"] == "the body may have at most 100 bytes; gzip helps"


async def test_a_body_that_does_not_come_is_answered_in_time_and_the_connection_closed(address: str) -> None:
    head = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n[1"
    status, headers, body = await exchange(address, head)
    assert status == "HTTP/1.1 408 Request Timeout"
    assert headers["connection"] == "close"
    assert b'"BODY_TIMEOUT"' in body


@pytest.mark.parametrize(
    ("media_type", "status"),
    [
        ("application/json; charset=utf-8", 200),
        ("application/vnd.api+json", 200),
        ("application/x-www-form-urlencoded", 200),
        ("text/xml", 415),
        ("image/png", 415),
    ],
)
async def test_only_what_may_be_json_is_read(address: str, media_type: str, status: int) -> None:
    async with aiohttp.ClientSession(f"http://{address}") as client:
        response = await client.post("/body", data=b"[]", headers={"Content-Type": media_type})
        assert response.status == status
