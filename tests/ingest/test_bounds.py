"""Bounded costs: of a gzip bomb, of a refusal, and of a slow body behind the proxy."""

import asyncio
import gzip
import json
import time
import tracemalloc
from pathlib import Path

import pytest

from sandbox.gateway import Gateway
from services.chassis.http.rate_limit import RateLimit
from services.chassis.http.shared_rate_limit import SharedRateLimit
from services.ingest.domain.inflate import MAX_BODY_BYTES, MAX_INFLATED_BYTES, TooLarge, inflate
from tests.ingest.client import BASE, import_api, request_head
from tests.ingest.fakes import order

MIB = 2**20


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """Return the largest gzip bomb that fits into a body: it inflates a thousandfold."""
    wire = gzip.compress(bytes(100 * MIB), 9)
    assert 0.9 * MAX_BODY_BYTES < len(wire) <= MAX_BODY_BYTES + 2048
    return wire


def test_a_bomb_costs_little_time(bomb: bytes) -> None:
    """100 KB that would become 100 MB: below 50 ms of CPU, at the best of a few tries on a busy machine."""
    took = []
    for _ in range(5):
        began = time.thread_time()
        assert inflate(bomb) == TooLarge(MAX_INFLATED_BYTES)
        took.append(time.thread_time() - began)
    assert min(took) < 0.05


def test_a_bomb_costs_little_memory(bomb: bytes) -> None:
    tracemalloc.start()
    try:
        inflate(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20 * MIB


async def test_a_refusal_of_the_limiter_costs_microseconds() -> None:
    """A refused request costs the limiter less than 5 µs, and so does an accepted one."""
    for limit in (100, 10**9):
        own = RateLimit()
        gate = SharedRateLimit(own, url=None)
        own.acquire("608", limit=limit, cost=100)
        best = min([await _cost_us(gate, limit) for _ in range(5)])
        assert best < 5, f"{best:.2f} µs"


async def _cost_us(gate: SharedRateLimit, limit: int, *, times: int = 5_000) -> float:
    began = time.thread_time()
    for _ in range(times):
        await gate.acquire("608", limit=limit, cost=1)
    return (time.thread_time() - began) / times * 1e6


async def test_behind_the_front_door_a_slow_body_is_408_as_soon_as_ingest_says_so(tmp_path: Path) -> None:
    """The proxy must not wait for the rest of the body before it forwards the response."""
    async with import_api(body_timeout_s=0.3) as client:
        front = Gateway(tmp_path / "front", upstreams={"ingest": client.base_url.removeprefix("http://")})
        await asyncio.to_thread(front.start)
        try:
            for lines, body_start in (
                (("Content-Length: 1000",), b""),
                (("Content-Length: 1000",), b"[{"),
                (("Transfer-Encoding: chunked",), b"2\r\n[{\r\n"),
            ):
                began = time.monotonic()
                reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
                writer.write(request_head("POST", BASE + "/orders", *lines) + body_start)
                async with asyncio.timeout(10):
                    assert b" 408 " in await reader.readline()
                assert time.monotonic() - began < 5
                writer.close()
        finally:
            await asyncio.to_thread(front.stop)


async def test_two_hundred_who_send_nothing_or_too_much_are_all_answered(bomb: bytes) -> None:
    async with import_api(body_timeout_s=1.5, records_per_second=1_000) as client:
        slow = request_head("POST", BASE + "/orders", "Content-Length: 1000")
        large = request_head("POST", BASE + "/orders", "Transfer-Encoding: chunked")
        chunk = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
        zipped = request_head("POST", BASE + "/orders", f"Content-Length: {len(bomb[:MAX_BODY_BYTES])}")
        hostile = [
            *(asyncio.create_task(client.send_raw(slow)) for _ in range(120)),
            *(asyncio.create_task(client.send_raw(large, chunk * 8)) for _ in range(40)),
            *(asyncio.create_task(client.send_raw(zipped, bomb[:MAX_BODY_BYTES])) for _ in range(40)),
        ]
        while not all(task.done() for task in hostile):
            good = await client.call(
                "POST", "/omnichannel/api/v1/67890/orders", data=json.dumps(order()), token="other"
            )
            assert good.status == 202
            await asyncio.wait(hostile, timeout=0.02)
        statuses = [int(task.result().split(b" ", 2)[1]) for task in hostile]
    assert set(statuses[:120]) == {408}
    assert set(statuses[120:]) == {413}
