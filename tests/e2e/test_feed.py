"""The event feed and webhooks of a whole installation, through the gateway."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from standardwebhooks import Webhook

from tests.e2e.customer import BASES, Customer


@dataclass
class FeedReader:
    """A customer's reader, which knows where it is."""

    customer: Customer
    cursor: str = ""
    seen: list[Any] = field(default_factory=list)

    async def call(self, method: str, path: str, **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {await self.customer.token('events')}", **options.pop("headers", {})}
        path = f"{BASES['events']}/{self.customer.tenant.api_key}/{path}"
        reply = await self.customer.call(method, path, headers=headers, **options)
        assert reply.status < 300, reply
        return reply.json if reply.body else None

    async def skip(self) -> "FeedReader":
        """Go to the end of the feed."""
        page: Any = {"result": [{}]}
        while page["result"]:
            page = await self.read(rows="1000")
        self.seen.clear()
        return self

    async def read(self, *, wait_s: int = 0, **query: str) -> Any:
        if self.cursor:
            query["after"] = self.cursor
        page = await self.call("GET", "events", params=query, headers={"Prefer": f"wait={wait_s}"})
        self.cursor = page["pagination"]["nextPageToken"]
        self.seen += page["result"]
        return page

    async def read_until(self, count: int, type_: str) -> list[Any]:
        """Read until that many events of the type have been seen."""
        async with asyncio.timeout(40):
            while len(found := [event for event in self.seen if event["type"] == type_]) < count:
                await self.read(wait_s=10)
        return found


@pytest.fixture
async def reader(customer: Customer) -> FeedReader:
    return await FeedReader(customer).skip()


async def test_finished_jobs_are_in_the_feed(reader: FeedReader) -> None:
    customer = reader.customer
    jobs = [(await customer.send_with_retry([customer.order(), {"lineItems": []}])).json["jobId"] for _ in range(3)]
    found = await reader.read_until(3, "job.finished")
    assert sorted(event["data"]["jobId"] for event in found) == sorted(jobs)
    assert all(event["data"]["counts"] == {"total": 2, "failed": 1, "success": 1} for event in found)
    sequences = [event["sequence"] for event in reader.seen]
    assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))


async def test_codes_and_the_end_of_an_order_are_in_the_feed(reader: FeedReader) -> None:
    reply = await reader.customer.order_code("DEMO-INSTANT")
    (completed,) = await reader.read_until(1, "order.completed")
    assert completed["data"]["transactionId"] == reply.json["transactionId"]
    assert completed["data"]["counts"] == {"ordered": 1, "delivered": 1, "pending": 0, "cancelled": 0}
    assert "codes.available" in {event["type"] for event in reader.seen}


async def test_a_stream_passes_the_gateway_at_once(reader: FeedReader) -> None:
    customer = reader.customer
    headers = {
        "Authorization": f"Bearer {await customer.token('events')}",
        "Accept": "text/event-stream",
        "Last-Event-ID": reader.cursor,
    }
    url = f"{customer.base}{BASES['events']}/{customer.tenant.api_key}/events"
    async with asyncio.timeout(40), customer.session.get(url, headers=headers) as response:
        assert await response.content.readline() == b"retry: 2000\n"
        job = (await customer.send_with_retry([customer.order()])).json["jobId"]
        line = b""
        while not (line.startswith(b"data: ") and json.loads(line[6:])["data"].get("jobId") == job):
            line = await response.content.readline()


@dataclass
class Receiver:
    """A customer's server."""

    server: TestServer
    requests: list[tuple[Mapping[str, str], bytes]]
    has_two: asyncio.Event

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}/hooks"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    requests: list[tuple[Mapping[str, str], bytes]] = []
    has_two = asyncio.Event()

    async def accept(request: web.Request) -> web.Response:
        requests.append((request.headers, await request.read()))
        if len(requests) == 2:
            has_two.set()
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/hooks", accept)
    server = TestServer(app)
    await server.start_server()
    yield Receiver(server, requests, has_two)
    await server.close()


async def test_an_endpoint_gets_signed_events(reader: FeedReader, receiver: Receiver) -> None:
    """The body is the event as the feed has it."""
    body = {"url": receiver.url, "types": ["job.finished"]}
    endpoint = await reader.call("POST", "endpoints", json=body)
    try:
        customer = reader.customer
        job = (await customer.send_with_retry([customer.order()])).json["jobId"]
        (event,) = [each for each in await reader.read_until(1, "job.finished") if each["data"]["jobId"] == job]
        async with asyncio.timeout(20):
            await receiver.has_two.wait()
        received = [Webhook(endpoint["secret"]).verify(data, dict(headers)) for headers, data in receiver.requests]
        assert [each["type"] for each in received] == ["endpoint.ping", "job.finished"]
        assert received[1] == event
    finally:
        await reader.call("DELETE", f"endpoints/{endpoint['id']}")
