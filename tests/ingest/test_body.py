"""Reading bodies: declared and counted sizes, timeouts, broken framing, and `Expect: 100-continue`."""

import asyncio
import json
from collections.abc import AsyncIterator
from time import monotonic

import pytest

from tests.ingest.client import BASE, ApiClient, import_api, request_head
from tests.ingest.fakes import order

MAX_BODY_BYTES = 102_400
GOOD = json.dumps([order()]).encode()


@pytest.fixture
async def client() -> AsyncIterator[ApiClient]:
    async with import_api(body_timeout_s=0.2) as client:
        yield client


def pad(size: int) -> bytes:
    return GOOD + b" " * (size - len(GOOD))


def status_of(response: bytes) -> int:
    return int(response.split(b" ", 2)[1])


@pytest.mark.parametrize(
    ("size", "status"), [(MAX_BODY_BYTES - 1, 202), (MAX_BODY_BYTES, 202), (MAX_BODY_BYTES + 1, 413)]
)
async def test_the_declared_size_counts(client: ApiClient, size: int, status: int) -> None:
    assert (await client.send(pad(size))).status == status


@pytest.mark.parametrize(
    ("size", "status"), [(MAX_BODY_BYTES - 1, 202), (MAX_BODY_BYTES, 202), (MAX_BODY_BYTES + 1, 413)]
)
async def test_without_a_declared_size_bytes_are_counted(client: ApiClient, size: int, status: int) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        body = pad(size)
        for at in range(0, size, 10_000):
            yield body[at : at + 10_000]

    response = await client.call("POST", BASE + "/orders", data=pieces())
    assert response.status == status


async def test_too_large_a_declared_size_is_refused_before_a_byte_came(client: ApiClient) -> None:
    head = request_head("POST", BASE + "/orders", f"Content-Length: {MAX_BODY_BYTES + 1}")
    response = await client.send_raw(head)
    assert status_of(response) == 413
    assert b"PAYLOAD_TOO_LARGE" in response


@pytest.mark.parametrize("pieces", [[], [b"[{"], [GOOD[:-1]]], ids=["nothing", "a little", "all but a byte"])
async def test_a_body_that_does_not_come_is_408(client: ApiClient, pieces: list[bytes]) -> None:
    head = request_head("POST", BASE + "/orders", f"Content-Length: {len(GOOD)}")
    began = monotonic()
    response = await client.send_raw(head, *pieces)
    assert status_of(response) == 408
    assert b"BODY_TIMEOUT" in response
    assert b"ratelimit:" in response.lower()
    assert b"connection: close" in response.lower()
    assert 0.2 <= monotonic() - began < 2


async def test_a_trickle_does_not_buy_time(client: ApiClient) -> None:
    """The whole body has to be there in time, however often a byte of it comes."""
    host, port = client.base_url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request_head("POST", BASE + "/orders", "Content-Length: 1000"))
    reading = asyncio.create_task(reader.readuntil(b"\r\n"))
    async with asyncio.timeout(5):
        while not reading.done():
            writer.write(b" ")
            await asyncio.wait([reading], timeout=0.02)
    assert b" 408 " in reading.result()
    writer.close()


async def test_a_body_cut_off_leaves_nothing(client: ApiClient) -> None:
    host, port = client.base_url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(request_head("POST", BASE + "/orders", "Content-Length: 1000") + GOOD)
    await writer.drain()
    writer.close()
    assert (await client.send([order()])).status == 202
    assert len(client.publisher.jobs) == 1


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (("Content-Length: 3", "Transfer-Encoding: chunked"), 400),
        (("Content-Length: 3", "Content-Length: 4"), 400),
        (("Content-Length: -1",), 400),
        (("Content-Length: +3",), 400),
        (("Transfer-Encoding: gzip",), 400),
        (("Transfer-Encoding: chunked, identity",), 400),
    ],
)
async def test_a_body_of_two_lengths_is_no_http(client: ApiClient, lines: tuple[str, ...], status: int) -> None:
    assert status_of(await client.send_raw(request_head("POST", BASE + "/orders", *lines), b"7\r\n")) == status


async def test_broken_chunks_are_a_400(client: ApiClient) -> None:
    response = await client.send_raw(
        request_head("POST", BASE + "/orders", "Transfer-Encoding: chunked"), b"zz\r\n[]\r\n"
    )
    assert status_of(response) == 400


async def test_who_waits_to_be_asked_is_asked(client: ApiClient) -> None:
    head = request_head("POST", BASE + "/orders", f"Content-Length: {len(GOOD)}", "Expect: 100-continue")
    host, port = client.base_url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head)
    async with asyncio.timeout(5):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(GOOD)
        assert b" 202 " in await reader.readuntil(b"\r\n")
    writer.close()


async def test_who_is_refused_is_not(client: ApiClient) -> None:
    lines = (f"Content-Length: {len(GOOD)}", "Expect: 100-continue", "Content-Type: text/xml")
    assert status_of(await client.send_raw(request_head("POST", BASE + "/orders", *lines))) == 415


async def test_the_slow_do_not_hold_up_the_others(client: ApiClient) -> None:
    head = request_head("POST", BASE + "/orders", "Content-Length: 1000")
    slow = [asyncio.create_task(client.send_raw(head)) for _ in range(50)]
    assert (await client.send([order()])).status == 202
    assert {status_of(response) for response in await asyncio.gather(*slow)} <= {408, 429}
