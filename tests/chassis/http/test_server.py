"""HTTP: what is the same for every request, checked on a real socket: its id, its trace, its measure."""

import asyncio
import re

import aiohttp
import pytest
from structlog.testing import LogCapture

from services.chassis.http.request_metrics import IN_FLIGHT, RESPONSE_BYTES, SECONDS
from tests.chassis.eventually import until
from tests.chassis.http.server_fixtures import (
    CANARY,
    HELD_REQUESTS,
    HeldRequest,
    address,
    client,
    exchange,
    logged,
    request_counts,
    reset,
)

__all__ = ["address", "client", "logged"]

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def test_a_redirect_is_an_answer_like_any_other(client: aiohttp.ClientSession) -> None:
    async with client.get("/raise/moved", allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (302, "/things/1")
        assert response.headers["X-Request-Id"]


async def test_a_defect_is_logged_with_the_requests_id_and_trace(
    client: aiohttp.ClientSession, logged: LogCapture
) -> None:
    async with client.get("/raise/defect", headers={"X-Request-Id": "r-1", "traceparent": TRACE}):
        pass
    (entry,) = logged.entries
    assert (entry["log_level"], entry["requestId"], entry["traceparent"]) == ("error", "r-1", TRACE)
    assert entry["exc_info"]


async def test_what_is_known_of_a_request_is_forgotten_with_it(address: str, logged: LogCapture) -> None:
    """Requests of one connection run in one context."""
    traced = f"GET /things/1 HTTP/1.1\r\nHost: x\r\ntraceparent: {TRACE}\r\n\r\n".encode()
    await exchange(address, traced + b"GET /raise/defect HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    (entry,) = logged.entries
    assert "traceparent" not in entry


@pytest.mark.parametrize("sane", ["a", "0f8fad5b-d9cb-469f-a165-70867728950e", "A.b_c:d/e+f=", "x" * 128])
async def test_a_sane_request_id_is_kept(client: aiohttp.ClientSession, sane: str) -> None:
    async with client.get("/things/1", headers={"X-Request-Id": sane}) as response:
        assert response.headers["X-Request-Id"] == sane
        assert (await response.json())["rid"] == sane


@pytest.mark.parametrize("insane", ["", "a b", "x" * 129, "<script>", 'a"b', "é"])
async def test_any_other_request_id_is_replaced(client: aiohttp.ClientSession, insane: str) -> None:
    async with client.get("/things/1", headers={"X-Request-Id": insane}) as response:
        assert re.fullmatch(r"[0-9a-f]{32}", response.headers["X-Request-Id"])


async def test_each_request_gets_an_id_of_its_own(client: aiohttp.ClientSession) -> None:
    ids = set()
    for _ in range(3):
        async with client.get("/things/1") as response:
            ids.add(response.headers["X-Request-Id"])
    assert len(ids) == 3


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (TRACE, TRACE),
        (TRACE.upper(), None),
        ("00-" + "0" * 32 + "-00f067aa0ba902b7-01", None),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-" + "0" * 16 + "-01", None),
        ("ff" + TRACE[2:], None),
        (TRACE + "-more", None),
        ("", None),
    ],
)
async def test_the_trace_context_is_read_if_it_is_well_formed(
    client: aiohttp.ClientSession, given: str, read: str | None
) -> None:
    async with client.get("/things/1", headers={"traceparent": given}) as response:
        assert (await response.json())["trace"] == read


async def test_requests_are_measured_by_route_template(client: aiohttp.ClientSession) -> None:
    before = request_counts("/things/{id}").get(("GET", "200"), 0)
    for number in range(3):
        async with client.get(f"/things/{number}"):
            pass
    assert request_counts("/things/{id}")["GET", "200"] == before + 3


async def test_bytes_and_requests_in_flight_are_measured(client: aiohttp.ClientSession) -> None:
    gate = HELD_REQUESTS["measured"] = HeldRequest()
    idle, sent = IN_FLIGHT._value.get(), RESPONSE_BYTES.labels("/held/{name}")._value.get()
    asking = asyncio.create_task(client.get("/held/measured"))
    await gate.entered.wait()
    assert IN_FLIGHT._value.get() == idle + 1
    gate.opened.set()
    body = await (await asking).read()
    await until(lambda: IN_FLIGHT._value.get() == idle)
    assert RESPONSE_BYTES.labels("/held/{name}")._value.get() == sent + len(body)


async def test_labels_are_bounded_whatever_is_asked(client: aiohttp.ClientSession) -> None:
    before = {sample.labels["route"] for family in SECONDS.collect() for sample in family.samples}
    for number in range(5):
        for method in ("GET", f"M{number}"):
            async with client.request(method, f"/{number}/{CANARY}"):
                pass
    after = {sample.labels["route"] for family in SECONDS.collect() for sample in family.samples}
    assert after - before <= {"unmatched"}
    known = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
    assert {method for method, _ in request_counts("unmatched")} <= known | {"other"}


@pytest.mark.parametrize(
    ("status", "counted"), [(200, "499"), (404, "499"), (503, "503")], ids=["good", "refused", "our failure"]
)
async def test_a_client_that_leaves_is_counted_as_gone(address: str, status: int, counted: str) -> None:
    """Unless we failed: it may have left because of that."""
    gate = HELD_REQUESTS["leaving"] = HeldRequest(status=status)
    before = request_counts("/held/{name}").get(("GET", counted), 0)
    host, port = address.split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /held/leaving HTTP/1.1\r\nHost: x\r\n\r\n")
    await gate.entered.wait()
    reset(writer)
    await until(lambda: gate.is_disconnected)
    gate.opened.set()
    await until(lambda: request_counts("/held/{name}").get(("GET", counted), 0) == before + 1)


async def test_a_client_that_leaves_amid_its_body_is_no_defect(address: str, logged: LogCapture) -> None:
    before = request_counts("/things").get(("POST", "499"), 0)
    host, port = address.split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /things HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf")
    idle = IN_FLIGHT._value.get()
    await until(lambda: IN_FLIGHT._value.get() == idle + 1)
    reset(writer)
    await until(lambda: request_counts("/things").get(("POST", "499"), 0) == before + 1)
    await until(lambda: IN_FLIGHT._value.get() == idle)
    assert logged.entries == []
