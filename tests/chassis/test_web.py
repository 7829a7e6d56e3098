"""HTTP: what is the same for every request, checked on a real socket."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog
from aiohttp import web
from prometheus_client import REGISTRY as OTHER_REGISTRY
from structlog.testing import LogCapture

from services.chassis import metrics
from services.chassis import web as chassis_web
from services.chassis.errors import Away, BodyFault, Forbidden, Problem, Unauthorized
from services.chassis.health import Health
from services.chassis.web import (
    REQUEST_ID,
    SECONDS,
    Listener,
    application,
    json_response,
    operations,
    traceparent,
)
from tests.chassis.eventually import until

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
CANARY = "canary-5d1f"


@dataclass
class Gate:
    """Holds a request until it is opened."""

    entered: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)


GATES: dict[str, Gate] = {}
routes = web.RouteTableDef()


@routes.get("/things/{id}")
async def thing(request: web.Request) -> web.Response:
    return json_response({"id": request.match_info["id"], "trace": traceparent(request), "rid": request[REQUEST_ID]})


@routes.post("/things")
async def take(request: web.Request) -> web.Response:
    return json_response({"length": len(await request.read())}, status=201)


@routes.get("/held/{name}")
async def held(request: web.Request) -> web.Response:
    gate = GATES[request.match_info["name"]]
    gate.entered.set()
    await gate.opened.wait()
    return json_response({"held": True})


@routes.get("/large")
async def large(_request: web.Request) -> web.Response:
    return web.Response(body=bytes(32 * 1024 * 1024))


RAISED: dict[str, Callable[[], Exception]] = {
    "defect": lambda: RuntimeError(CANARY),
    "refused": lambda: ConnectionRefusedError(CANARY),
    "timeout": lambda: TimeoutError(CANARY),
    "away": lambda: Away("Kafka", retry_after_s=7),
    "unauthorized": lambda: Unauthorized("the token has expired"),
    "no-token": lambda: Unauthorized("a token is needed", presented=False),
    "forbidden": lambda: Forbidden("the token is for another site"),
    "moved": lambda: web.HTTPFound("/things/1"),
    "teapot": lambda: web.HTTPUnsupportedMediaType(text=CANARY),
    "faults": lambda: Problem(
        422,
        "INVALID_BODY",
        "two faults",
        headers={"X-More": "1"},
        errors=[BodyFault("/0/id", "MISSING", "is missing"), BodyFault("", "EMPTY", "is empty")],
        extra={"jobId": "j1"},
    ),
}


@routes.get("/raise/{what}")
async def fail(request: web.Request) -> web.Response:
    error = RAISED[request.match_info["what"]]()
    raise error


@asynccontextmanager
async def listening(app: web.Application | None = None, **options: Any) -> AsyncIterator[Listener]:
    listener = Listener(app or application(list(routes), largest_body=1_000), host="127.0.0.1", port=0, **options)
    await listener.start()
    try:
        yield listener
    finally:
        await listener.stop()


@pytest.fixture
async def address() -> AsyncIterator[str]:
    async with listening() as listener:
        yield listener.address


@pytest.fixture
async def client(address: str) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(f"http://{address}") as session:
        yield session


@pytest.fixture
def logged() -> Iterator[LogCapture]:
    capture = LogCapture()
    kept = structlog.get_config()
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, capture], cache_logger_on_first_use=False)
    yield capture
    structlog.configure(**kept)


async def exchange(address: str, sent: bytes) -> tuple[str, dict[str, str], bytes]:
    """One raw request on a connection of its own: status line, headers and body of what comes back until the end."""
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    async with asyncio.timeout(10):
        received = await reader.read()
    writer.close()
    head, _, body = received.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    return status, dict(line.lower().split(": ", 1) for line in lines), body


async def a_problem(response: aiohttp.ClientResponse) -> dict[str, Any]:
    assert response.headers["Content-Type"] == "application/problem+json"
    document: dict[str, Any] = json.loads(await response.read())
    assert document["status"] == response.status
    assert document["requestId"] == response.headers["X-Request-Id"]
    assert document["instance"].endswith(document["requestId"])
    assert document["type"]
    assert document["title"]
    assert document["detail"]
    assert re.fullmatch(r"[A-Z][A-Z_]+", document["code"])
    return document


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


async def test_a_connection_serves_many_requests(address: str) -> None:
    get = b"GET /things/%d HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /things/3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    _, _, rest = await exchange(address, get % 1 + get % 2 + last)
    assert rest.count(b"HTTP/1.1 200 OK") == 2
    assert b'"id":"3"' in rest


def observed(route: str) -> dict[tuple[str, str], float]:
    """Requests of a route by method and status."""
    return {
        (sample.labels["method"], sample.labels["status"]): sample.value
        for family in SECONDS.collect()
        for sample in family.samples
        if sample.name.endswith("_count") and sample.labels["route"] == route
    }


async def test_requests_are_measured_by_route_template(client: aiohttp.ClientSession) -> None:
    before = observed("/things/{id}").get(("GET", "200"), 0)
    for number in range(3):
        async with client.get(f"/things/{number}"):
            pass
    assert observed("/things/{id}")["GET", "200"] == before + 3


async def test_labels_are_bounded_whatever_is_asked(client: aiohttp.ClientSession) -> None:
    before = {sample.labels["route"] for family in SECONDS.collect() for sample in family.samples}
    for number in range(5):
        for method in ("GET", f"M{number}"):
            async with client.request(method, f"/{number}/{CANARY}"):
                pass
    after = {sample.labels["route"] for family in SECONDS.collect() for sample in family.samples}
    assert after - before <= {"unmatched"}
    known = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
    assert {method for method, _ in observed("unmatched")} <= known | {"other"}


async def test_a_client_that_leaves_is_counted_as_gone(address: str) -> None:
    gate = GATES["leaving"] = Gate()
    host, port = address.split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /held/leaving HTTP/1.1\r\nHost: x\r\n\r\n")
    await gate.entered.wait()
    writer.transport.abort()
    gate.opened.set()
    await until(lambda: sum(observed("/held/{name}").values()) >= 1)


async def test_stopping_lets_requests_in_flight_end_and_takes_no_more() -> None:
    gate = GATES["draining"] = Gate()
    async with listening() as listener, aiohttp.ClientSession(f"http://{listener.address}") as session:
        answer = asyncio.create_task(read(session, "/held/draining"))
        await gate.entered.wait()
        address = listener.address
        stopping = asyncio.create_task(listener.stop())
        await until(lambda: refuses(address))
        assert not stopping.done()
        gate.opened.set()
        assert await answer == {"held": True}
        await stopping


async def refuses(address: str) -> bool:
    host, port = address.split(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except ConnectionError:
        return True
    writer.transport.abort()
    return False


async def read(session: aiohttp.ClientSession, path: str) -> Any:
    async with session.get(path) as response:
        return await response.json()


async def test_stopping_waits_no_longer_than_it_may() -> None:
    gate = GATES["stuck"] = Gate()
    async with listening(drain_s=0.05) as listener, aiohttp.ClientSession(f"http://{listener.address}") as session:
        answer = asyncio.create_task(read(session, "/held/stuck"))
        await gate.entered.wait()
        async with asyncio.timeout(5):
            await listener.stop()
        with pytest.raises(aiohttp.ClientConnectionError):
            await answer


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chassis_web, "SLOW_CLIENT_S", 0.1)


@pytest.mark.parametrize("sent", [b"GET", b"GET /things/1 HTTP/1.1\r\nHost", b"GET /things/1 HTTP/1.1\r\nHost: x\r\n"])
@pytest.mark.usefixtures("impatient")
async def test_a_head_that_does_not_end_is_not_waited_for(address: str, sent: bytes) -> None:
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()


@pytest.mark.usefixtures("impatient")
async def test_a_head_that_dribbles_is_not_waited_for(address: str) -> None:
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /things/1 HTTP/1.1\r\n")

    async def dribble() -> None:
        while True:
            writer.write(b"A: b\r\n")
            await asyncio.sleep(0.01)

    dribbling = asyncio.create_task(dribble())
    async with asyncio.timeout(5):
        with suppress(ConnectionError):
            assert await reader.read() == b""
    dribbling.cancel()
    writer.transport.abort()


@pytest.mark.usefixtures("impatient")
async def test_a_client_that_takes_no_answer_is_let_go(address: str) -> None:
    before = observed("/large").get(("GET", "200"), 0)
    host, port = address.split(":")
    _, writer = await asyncio.open_connection(host, int(port), limit=1)
    assert serves(port)
    writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    await until(lambda: observed("/large").get(("GET", "200"), 0) > before)
    await until(lambda: not serves(port))
    writer.transport.abort()


def serves(port: str) -> bool:
    """Whether a connection of this port is established, as the kernel sees it."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    return any(row[1].endswith(f":{int(port):04X}") and row[3] == "01" for row in rows)


@pytest.fixture
async def operating() -> AsyncIterator[tuple[Health, aiohttp.ClientSession]]:
    health = Health()
    listener = operations(health, host="127.0.0.1", port=0)
    await listener.start()
    async with aiohttp.ClientSession(f"http://{listener.address}") as session:
        yield health, session
    await listener.stop()


Operating = tuple[Health, aiohttp.ClientSession]


@pytest.mark.parametrize(("path", "name"), [("/live", "loop"), ("/ready", "kafka")])
async def test_the_operations_port_tells_of_health(operating: Operating, path: str, name: str) -> None:
    health, session = operating
    says = {"yes": True}
    health.live_while("loop", lambda: says["yes"])
    health.ready_when("kafka", lambda: says["yes"])
    for status, good in ((200, True), (503, False)):
        says["yes"] = good
        async with session.get(path) as response:
            assert response.status == status
            document = await response.json()
        assert document["ok"] is good
        assert document["parts"][name] is good


async def test_who_drains_is_not_ready(operating: Operating) -> None:
    health, session = operating
    health.draining = True
    async with session.get("/ready") as ready, session.get("/live") as live:
        assert (ready.status, live.status) == (503, 200)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [("*/*", "text/plain"), ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text")],
)
async def test_metrics_come_as_text_or_as_openmetrics(operating: Operating, accept: str, content_type: str) -> None:
    _, session = operating
    async with session.get("/metrics", headers={"Accept": accept}) as response:
        assert response.content_type == content_type
        text = await response.text()
    assert "# HELP http_request_seconds Duration of a request." in text
    assert text.endswith("# EOF\n") == ("openmetrics" in content_type)
    assert metrics.REGISTRY is not OTHER_REGISTRY


async def test_the_operations_port_speaks_problems_and_is_not_measured(operating: Operating) -> None:
    _, session = operating
    before = observed("/live")
    async with session.get("/nowhere", headers={"X-Request-Id": "r-2"}) as response:
        assert response.status == 404
        assert (await a_problem(response))["requestId"] == "r-2"
    async with session.get("/live") as response:
        assert response.headers["X-Request-Id"]
    assert observed("/live") == before == {}
