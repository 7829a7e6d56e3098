"""A faulty receiver, and a sender that is killed again and again: every event arrives, with the same id."""

import asyncio
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.settings import REPOSITORY
from services.webhooks.domain.endpoint import Endpoint
from services.webhooks.domain.event import EventType, FeedQuery
from services.webhooks.flows import append_events, manage_endpoints
from tests.chassis.eventually import until
from tests.webhooks.events import SITE, an_event
from tests.webhooks.fakes import FakeNotifier
from tests.webhooks.feed_fixtures import mongo
from tests.webhooks.sender_harness import SenderHarness
from tests.webhooks.sender_process import now_us

__all__ = ["mongo"]

FAULTS = ("500", "busy", "redirect", "large failure", "hang", "drip", "cut")
FAULT_RATIO = 0.15


class FaultyReceiver:
    """Accepts most requests, and behaves badly otherwise; counts what it has accepted."""

    def __init__(self) -> None:
        self.accepted: dict[str, Counter[int]] = {"all": Counter(), "ordered": Counter()}
        self.order: list[int] = []
        self.ids: dict[int, set[str]] = {}
        self.faults: Counter[str] = Counter()
        self.is_gone = False
        self._chance = random.Random(1)  # noqa: S311 - reproducible
        app = web.Application()
        app.router.add_post("/{name}", self._answer)
        app.router.add_get("/inside", self._must_not_be_called)
        self.server = TestServer(app)

    @property
    def count(self) -> int:
        """How many requests were accepted."""
        return sum(self.accepted["all"].values()) + sum(self.accepted["ordered"].values())

    async def _must_not_be_called(self, _: web.Request) -> web.Response:
        raise AssertionError("a redirect was followed")

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        event, name = await request.json(), request.match_info["name"]
        if event["type"] == "endpoint.ping":
            return web.Response()
        if self.is_gone and name == "all":
            self.faults["410"] += 1
            return web.Response(status=410)
        if self._chance.random() < FAULT_RATIO:
            return await self._misbehave(request, self._chance.choice(FAULTS))
        sequence = event["sequence"]
        self.ids.setdefault(sequence, set()).add(request.headers["webhook-id"])
        if name == "ordered" and not self.accepted[name][sequence]:
            self.order.append(sequence)
        self.accepted[name][sequence] += 1
        return web.Response(status=204)

    async def _misbehave(self, request: web.Request, fault: str) -> web.StreamResponse:
        self.faults[fault] += 1
        if fault == "redirect":
            return web.Response(status=307, headers={"Location": "/inside"})
        if fault == "busy":
            return web.Response(status=429, headers={"Retry-After": "0"})
        if fault == "large failure":
            return web.Response(status=500, body=b"x" * 5_000_000)
        if fault == "hang":
            await asyncio.sleep(5)
        if fault in ("drip", "cut"):
            response = web.StreamResponse(status=503)
            await response.prepare(request)
            await response.write(b"x")
            if fault == "drip":
                await asyncio.sleep(5)
            elif request.transport is not None:
                request.transport.abort()
            return response
        return web.Response(status=500)


@pytest.fixture
async def receiver() -> AsyncIterator[FaultyReceiver]:
    receiver = FaultyReceiver()
    await receiver.server.start_server(shutdown_timeout=0.1)
    yield receiver
    await receiver.server.close()


@pytest.fixture
async def process(mongo: Mongo, mongodb_uri: str) -> AsyncIterator["SenderProcess"]:
    process = SenderProcess(mongodb_uri, mongo._database.name)
    yield process
    process.end()


class SenderProcess:
    """The sender, in a process of its own."""

    def __init__(self, uri: str, database: str) -> None:
        self._command = (sys.executable, "-m", "tests.webhooks.sender_process", uri, database)
        self._process: asyncio.subprocess.Process | None = None
        self.kills = 0

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(*self._command, cwd=REPOSITORY)

    def end(self) -> None:
        """End it, whatever the test has come to."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def kill(self) -> None:
        assert self._process is not None
        assert self._process.returncode is None, "the sender ended by itself"
        self._process.kill()
        assert await self._process.wait() == -signal.SIGKILL
        self.kills += 1


async def create(harness: SenderHarness, url: str, *, is_ordered: bool) -> Endpoint:
    created = await manage_endpoints.create_endpoint(
        SITE,
        url,
        harness.manage,
        types=["invoice.issued"] if is_ordered else [],
        description="",
        is_ordered=is_ordered,
    )
    assert created is not None
    return created[0]


@pytest.mark.parametrize(
    ("count", "kills"), [(100, 2), pytest.param(10_000, 10, marks=[pytest.mark.long, pytest.mark.timeout(900)])]
)
async def test_every_event_arrives_although_the_sender_is_killed(
    mongo: Mongo,
    process: SenderProcess,
    receiver: FaultyReceiver,
    count: int,
    kills: int,
    record_property: Callable[..., None],
) -> None:
    """Breaks: SIGKILL at any point, while the receiver fails at random, hangs, answers 410 once, 429, 5 MB, or drips.

    Must hold: every event at least once, ids stable; the ordered endpoint sees its events without a hole, in order.
    """
    harness = await SenderHarness(mongo).prepare()
    await append_one_by_one(harness, 0)
    endpoints = [
        await create(harness, str(receiver.server.make_url(f"/{name}")), is_ordered=name == "ordered")
        for name in ("all", "ordered")
    ]
    await process.start()
    writing = asyncio.create_task(append_one_by_one(harness, count))
    for number in range(1, kills + 1):
        if number == 2:
            await recover(harness, endpoints[0], receiver)
        share = number * count // (kills + 2)
        await until(lambda share=share: receiver.count >= share, deadline_s=180)  # type: ignore[misc]
        if number == 1:
            receiver.is_gone = True
        await process.kill()
        await process.start()
    await writing
    stored = list(await harness.feed.read(FeedQuery(site=SITE, after=0, rows=2 * count)))
    expected = {event.sequence for event in stored}
    invoices = [event.sequence for event in stored if event.type == "invoice.issued"]
    try:
        await until(lambda: receiver.order == invoices, deadline_s=400)
        await until(lambda: expected <= receiver.accepted["all"].keys(), deadline_s=400)
    finally:
        await process.kill()
        missing = expected - receiver.accepted["all"].keys()
        record_property("missing", len(missing))
    assert {len(ids) for ids in receiver.ids.values()} == {1}
    assert {receiver.ids[event.sequence].pop() for event in stored if event.sequence in receiver.ids} == {
        event.id for event in stored
    }
    assert receiver.faults.keys() >= {"410", "500", "hang", "redirect"}
    duplicates = receiver.count - len(expected) - len(invoices)
    record_property("duplicates", duplicates)
    record_property("faults", dict(receiver.faults))


async def append_one_by_one(harness: SenderHarness, count: int) -> None:
    """Events in small batches, as a consumer would append them; every tenth is an invoice."""
    deps = append_events.Deps(feed=harness.feed, notifier=FakeNotifier(), now_us=now_us)
    for first in range(0, count, 20):
        kinds = [EventType.INVOICE_ISSUED if n % 10 == 0 else EventType.JOB_FINISHED for n in range(first, first + 20)]
        batch = [an_event(first + n, type_=kind, at_us=now_us()) for n, kind in enumerate(kinds)]
        await append_events.append_events(batch, deps)


async def recover(harness: SenderHarness, endpoint: Endpoint, receiver: FaultyReceiver) -> None:
    """Wait until the 410 has disabled the endpoint, enable it, and replay what it missed, as its owner would."""

    async def is_disabled() -> bool:
        return not (await harness.find(endpoint.id)).is_enabled

    await until(is_disabled, deadline_s=60)
    receiver.is_gone = False
    found = await harness.find(endpoint.id)
    await harness.enable(endpoint.id)
    since_us = min(each for each in (found.disabled_us, found.failing_since_us) if each is not None)
    start = await harness.feed.find_position(SITE, since_us - 60_000_000)
    await harness.replay(endpoint.id, start=start, only_failed=True)
