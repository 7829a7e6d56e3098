"""The gateway forwards requests unchanged, by its route table, and returns its own errors as problems."""

import asyncio
import gzip
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from multidict import CIMultiDict
from yarl import URL

from sandbox import paths
from sandbox.gateway import Gateway
from tests.chassis.eventually import until

SERVICES = ("auth", "ingest", "status", "fulfilment", "webhooks", "portal")


class Upstream:
    """Responds with the request as received; a path with `slow` gets 408 at once, without reading the body.

    One with `cut` gets the beginning of a response, one with `torn` the beginning of its head.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            target = head.split(" ", 2)[1]
            if "slow" in target:
                await self.answer(writer, 408, {"late": True})
                return
            if "cut" in target:
                writer.write(b"HTTP/1.1 200 x\r\nContent-Length: 1000\r\n\r\nhalf")
                return
            if "torn" in target:
                writer.write(b"HTTP/1.1 200 x\r\nContent-")
                return
            if "expect: 100-continue" in head.lower():
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            if "held" in target:
                await asyncio.sleep(0.2)
            if "transfer-encoding: chunked" in head.lower():
                await reader.readuntil(b"0\r\n\r\n")
            sizes = [line.split(":")[1] for line in head.splitlines() if line.lower().startswith("content-length:")]
            body = await reader.readexactly(int(sizes[0])) if sizes else b""
            await self.answer(writer, 200, {"service": self.name, "target": target, "body": body.hex(), "head": head})
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    async def answer(self, writer: asyncio.StreamWriter, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        head = f"HTTP/1.1 {status} x\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + data)
        await writer.drain()


@pytest.fixture(scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    servers = {name: await asyncio.start_server(Upstream(name).serve, "127.0.0.1", 0) for name in SERVICES}
    upstreams = {name: f"127.0.0.1:{server.sockets[0].getsockname()[1]}" for name, server in servers.items()}
    servers["fulfilment"].close()
    running = Gateway(tmp_path_factory.mktemp("gateway"), upstreams=upstreams)
    running.start()
    yield running
    running.stop()
    for server in servers.values():
        server.close()


@pytest.fixture(scope="module")
async def customer(gateway: Gateway) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(gateway.url, timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield session


@pytest.mark.parametrize(
    ("path", "service"),
    [
        ("/omnichannel/api/v1/oauth2/token", "auth"),
        ("/common-status/v1/oauth2/token", "auth"),
        ("/fulfilment/v1/oauth2/revoke", "auth"),
        ("/.well-known/jwks.json", "auth"),
        ("/auth/openapi.yaml", "auth"),
        ("/omnichannel/api/v1/12345/orders?mode=offline", "ingest"),
        ("/omnichannel/api/v1/12345/orders/users/a%2Foauth2%2Fb", "ingest"),
        ("/registry/subjects", "ingest"),
        ("/common-status/v1/12345/job/x/events", "status"),
        ("/events/v1/oauth2/token", "auth"),
        ("/events/v1/12345/events?rows=1", "webhooks"),
        ("/", "portal"),
        ("/portal", "portal"),
        ("/portal/jobs?state=FAILED", "portal"),
    ],
)
async def test_each_path_goes_to_its_service(customer: aiohttp.ClientSession, path: str, service: str) -> None:
    async with customer.get(URL(path, encoded=True), headers={"Host": "shop.example"}) as response:
        received = await response.json(content_type=None)
    assert (received["service"], received["target"]) == (service, path)
    assert not {"Server", "Via"} & response.headers.keys()


async def test_a_gzip_body_arrives_untouched(customer: aiohttp.ClientSession) -> None:
    body = gzip.compress(b"[{}]")
    headers = {"Content-Encoding": "gzip"}
    async with customer.post("/omnichannel/api/v1/12345/orders", data=body, headers=headers, compress=None) as response:
        received = await response.json(content_type=None)
    assert received["body"] == body.hex()
    assert "content-encoding: gzip" in received["head"].lower()


async def test_an_answer_does_not_wait_for_a_slow_body(gateway: Gateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"POST /omnichannel/slow HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n[")
    async with asyncio.timeout(5):
        assert (await reader.readline()).startswith(b"HTTP/1.1 408")
    writer.close()


@pytest.mark.parametrize("garbled", [b"zz\r\n[]\r\n", b"2\r\n[]]\r\n"], ids=["no size", "too long"])
async def test_a_body_that_is_garbled_is_the_clients_mistake(gateway: Gateway, garbled: bytes) -> None:
    """Not a 503, which clients would retry."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"POST /omnichannel/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + garbled)
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"Retry-After" not in head
    assert (json.loads(body)["status"], json.loads(body)["code"]) == (400, "BAD_REQUEST")


@pytest.mark.parametrize(
    "sent",
    [b"Content-Length: 50\r\n\r\n[]", b"Transfer-Encoding: chunked\r\n\r\n5\r\n["],
    ids=["declared length", "chunks"],
)
@pytest.mark.parametrize("path", [b"/omnichannel/x", b"/fulfilment/v1/orders"], ids=["service", "no service"])
async def test_a_body_shorter_than_declared_is_the_clients_mistake(gateway: Gateway, path: bytes, sent: bytes) -> None:
    """Unless the service is away, too."""
    head, body = await exchange_half_closed(gateway, b"POST " + path + b" HTTP/1.1\r\nHost: x\r\n" + sent)
    if path.startswith(b"/omnichannel"):
        assert head.startswith(b"HTTP/1.1 400 ")
        assert b"Retry-After" not in head
        assert json.loads(body)["code"] == "BAD_REQUEST"
    else:
        assert head.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 503 "))


async def test_an_answer_that_breaks_off_in_its_head_is_an_outage(customer: aiohttp.ClientSession) -> None:
    async with customer.post("/omnichannel/torn", data=b"[]") as response:
        assert (response.status, response.headers["Retry-After"]) == (503, "2")


async def test_a_client_that_closes_its_sending_side_too_early_is_told_why_it_has_no_answer(gateway: Gateway) -> None:
    """Caddy cancels the request, and no setting prevents it. The service has the request: the answer is no 503."""
    sent = b"POST /omnichannel/held HTTP/1.1\r\nHost: x\r\nX-Request-Id: till-7\r\nContent-Length: 2\r\n\r\n[]"
    head, body = await exchange_half_closed(gateway, sent)
    problem = json.loads(body)
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"Content-Type: application/problem+json" in head
    assert (problem["status"], problem["code"], problem["requestId"]) == (400, "BAD_REQUEST", "till-7")
    assert "may have been carried out" in problem["detail"]


async def exchange_half_closed(gateway: Gateway, sent: bytes) -> tuple[bytes, bytes]:
    """Send, close the sending side, and return head and body of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(sent)
    writer.write_eof()
    async with asyncio.timeout(5):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return head, body


async def test_a_client_that_waits_to_be_asked_for_its_body_is_asked_once(gateway: Gateway) -> None:
    """The gateway and the service would both do it, and clients take the second time for the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(
        b"POST /omnichannel/x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
        b"Expect: 100-continue\r\nConnection: close\r\n\r\n"
    )
    async with asyncio.timeout(5):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"[]")
        answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_what_is_left_of_a_body_is_never_read_as_the_next_request(customer: aiohttp.ClientSession) -> None:
    """The service is unavailable and responses are early; clients reuse their connections."""
    for size in [100, 10_000, 100_000] * 10:
        async with customer.post("/fulfilment/v1/orders", data=b"x" * size) as response:
            assert response.status == 503
            assert response.headers["Connection"] == "close"
    async with customer.get("/fulfilment/v1/orders") as response:
        assert response.headers.get("Connection") != "close", "nothing was sent that could be left"


async def test_header_fields_that_a_service_refuses_reach_it_and_longer_ones_are_refused_without_echo(
    gateway: Gateway, customer: aiohttp.ClientSession
) -> None:
    async with customer.get("/auth/x", headers={"X-Long": "a" * 50_000}) as response:
        assert response.status == 200
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"GET /auth/x HTTP/1.1\r\nHost: x\r\nX-Long: " + b"secret" * 30_000 + b"\r\n\r\n")
    async with asyncio.timeout(5):
        data = await reader.read(65_536)
    writer.close()
    assert data.startswith(b"HTTP/1.1 431 ")
    assert b"secret" not in data


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [("/fulfilment/v1/orders?client_secret=s3cret", 503, "SERVICE_UNAVAILABLE"), ("/s3cret", 404, "NOT_FOUND")],
)
async def test_its_own_errors_are_problems(
    gateway: Gateway, customer: aiohttp.ClientSession, path: str, status: int, code: str
) -> None:
    async with customer.get(path) as response:
        text = await response.text()
        problem = json.loads(text)
        assert response.status == problem["status"] == status
        assert response.content_type == "application/problem+json"
        assert problem["code"] == code
        assert problem["requestId"] == response.headers["X-Request-Id"]
        assert ("Retry-After" in response.headers) == (status == 503)
    assert "s3cret" not in text + gateway.tail(lines=1000)


@pytest.mark.parametrize(
    ("given", "is_sane"),
    [("till-7/2026:1", True), ("x" * 128, True), ("x" * 129, False), ('a"b', False), ("a b", False)],
)
async def test_its_own_errors_carry_the_callers_request_id(
    customer: aiohttp.ClientSession, given: str, *, is_sane: bool
) -> None:
    async with customer.get("/nowhere", headers={"X-Request-Id": given}) as response:
        problem = json.loads(await response.text())
        assert problem["requestId"] == response.headers["X-Request-Id"]
        assert (problem["requestId"] == given) is is_sane


async def test_of_two_request_ids_nothing_but_the_sane_one_comes_back(customer: aiohttp.ClientSession) -> None:
    headers = CIMultiDict([("X-Request-Id", "sane"), ("X-Request-Id", '","evil":"')])
    async with customer.get("/nowhere", headers=headers) as response:
        assert json.loads(await response.text())["requestId"] == response.headers["X-Request-Id"] == "sane"


@pytest.mark.parametrize("method", ["BREW", "FOO"])
async def test_a_method_that_nobody_knows_reaches_the_service_as_one_that_none_takes(
    customer: aiohttp.ClientSession, method: str
) -> None:
    async with customer.request(method, "/omnichannel/api/v1/12345/orders") as response:
        received = await response.json(content_type=None)
    assert received["head"].startswith("TRACE ")


async def test_a_service_that_stands_still_is_waited_for_in_vain_no_longer_than_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service accepts the request and never answers. The default timeout exceeds the 30 s of `Prefer: wait`."""
    monkeypatch.setenv("GATEWAY_RESPONSE_TIMEOUT", "500ms")
    is_over = asyncio.Event()

    async def hold_still(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await is_over.wait()
        writer.close()

    silent = await asyncio.start_server(hold_still, "127.0.0.1", 0)
    gateway = Gateway(tmp_path, upstreams={"status": f"127.0.0.1:{silent.sockets[0].getsockname()[1]}"})
    await asyncio.to_thread(gateway.start)
    try:
        async with (
            aiohttp.ClientSession(gateway.url, timeout=aiohttp.ClientTimeout(total=10)) as session,
            session.get("/common-status/v1/12345/jobs") as response,
        ):
            assert (response.status, response.headers["Retry-After"]) == (503, "2")
    finally:
        is_over.set()
        await asyncio.to_thread(gateway.stop)
        silent.close()


async def test_what_goes_wrong_behind_the_door_is_logged_without_the_request(
    gateway: Gateway, customer: aiohttp.ClientSession
) -> None:
    with pytest.raises(aiohttp.ClientPayloadError):
        async with customer.get("/omnichannel/cut?client_secret=s3cret", headers={"X-Also": "s3cret"}) as response:
            await response.read()
    await until(lambda: "incomplete" in gateway.tail(lines=1000))
    assert "s3cret" not in gateway.tail(lines=1000)


def test_the_door_waits_longer_than_a_jobs_end_may_be_waited_for() -> None:
    (patience,) = re.findall(r"GATEWAY_RESPONSE_TIMEOUT:(\d+)s", paths.CADDYFILE.read_text(encoding="utf-8"))
    assert int(patience) > 30


def test_the_table_is_the_one_of_compose(gateway: Gateway) -> None:
    assert "/deploy/gateway/Caddyfile" in " ".join(map(str, gateway.program.command))
    assert Path(gateway.program.log).is_file()
