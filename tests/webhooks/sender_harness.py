"""Senders over MongoDB with a virtual clock, and a receiver without HTTP."""

import asyncio
import itertools
import math
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
import pytest

from services.chassis.mongodb.client import Mongo
from services.chassis.mongodb.outbox import Outbox, Relay
from services.chassis.runtime.settings import MongoSettings
from services.webhooks.adapters.delivery_store import MongoDeliveryStore, MongoReplayStore
from services.webhooks.adapters.endpoint_store import ENDPOINTS, FEED, MongoEndpointStore, decode_event
from services.webhooks.adapters.feed_store import MongoFeedStore
from services.webhooks.adapters.lease_store import MongoLeaseStore
from services.webhooks.adapters.secret_sealer import AesSecretSealer, load_signing_keys
from services.webhooks.domain.delivery import Delivery, Outcome
from services.webhooks.domain.endpoint import Endpoint
from services.webhooks.domain.event import FeedEvent, FeedQuery, NewEvent
from services.webhooks.domain.replay import Replay
from services.webhooks.flows import append_events, manage_endpoints, push
from services.webhooks.flows.send_events import EndpointSender
from tests.webhooks.events import NOON_US, SITE
from tests.webhooks.fakes import FakeNotifier

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
URL = "https://shop.example/hooks"


@dataclass(frozen=True)
class Received:
    """A request that arrived."""

    at_us: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        decoded: dict[str, Any] = msgspec.json.decode(self.body)
        return decoded

    @property
    def sequence(self) -> int:
        return int(self.event["sequence"])


Answer = Callable[[Received], Any]


class FakeTransport:
    """Answers with a status, or an `Outcome`; `answer` may be replaced, and may be a coroutine function."""

    def __init__(self, now_us: Callable[[], int]) -> None:
        self._now_us = now_us
        self.received: list[Received] = []
        self.answer: Answer = lambda _: 200

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        assert url == URL
        request = Received(self._now_us(), headers, body)
        self.received.append(request)
        answer = self.answer(request)
        if isinstance(answer, Awaitable):
            answer = await answer
        if isinstance(answer, Outcome):
            return answer
        return Outcome(at_us=request.at_us, latency_ms=1, status=answer, answer=f"answer {answer}")

    def answer_late(self, sequence: int, *, status: int) -> asyncio.Event:
        """Answer all requests with `status`, those of this event only once the returned `asyncio.Event` is set."""
        late = asyncio.Event()

        async def answer(request: Received) -> int:
            if request.sequence == sequence:
                await late.wait()
            return status

        self.answer = answer
        return late

    @property
    def sequences(self) -> list[int]:
        """The sequences that arrived, without pings."""
        return [each.sequence for each in self.received if each.sequence]


class SenderHarness:
    """Stores in one database, a virtual clock, and the sender of one endpoint, run step by step."""

    def __init__(self, mongo: Mongo) -> None:
        self.now_us = NOON_US
        self.mongo = mongo
        clock = self.clock
        self.feed = MongoFeedStore(mongo)
        self.endpoints = MongoEndpointStore(mongo, now_us=clock)
        self.leases = MongoLeaseStore(mongo, now_us=clock)
        self.deliveries, self.replays = MongoDeliveryStore(mongo, now_us=clock), MongoReplayStore(mongo)
        self.outbox = Outbox(mongo, [ENDPOINTS], now_us=clock)
        self.sealer = AesSecretSealer([b"k" * 32])
        self.keys = load_signing_keys([b"s" * 32])
        self.transport = FakeTransport(clock)
        self.append_deps = append_events.Deps(feed=self.feed, notifier=FakeNotifier(), now_us=clock)
        ids = itertools.count()
        self.manage = manage_endpoints.Deps(
            feed=self.feed,
            endpoints=self.endpoints,
            deliveries=self.deliveries,
            replays=self.replays,
            secrets=self.sealer,
            new_id=lambda: f"id-{next(ids)}",
            new_secret=lambda: bytes([next(ids)]) * 32,
            now_us=clock,
            on_change=lambda: None,
        )
        self.deps = push.Deps(
            feed=self.feed,
            endpoints=self.endpoints,
            deliveries=self.deliveries,
            replays=self.replays,
            secrets=self.sealer,
            transport=self.transport,
            keys=self.keys,
            disable=partial(manage_endpoints.disable_endpoint, endpoints=self.endpoints, now_us=clock),
            now_us=clock,
            random=lambda: 0.5,
        )
        self.sender: EndpointSender | None = None

    def clock(self) -> int:
        return self.now_us

    async def prepare(self) -> "SenderHarness":
        await self.feed.create_indexes(retention_days=30)
        await self.endpoints.create_indexes()
        await self.leases.create_indexes()
        await self.deliveries.create_indexes(retention_days=30)
        await self.replays.create_indexes(retention_days=30)
        await self.outbox.create_indexes()
        return self

    async def create(self, *, types: Sequence[str] = (), is_ordered: bool = False) -> tuple[Endpoint, bytes]:
        created = await manage_endpoints.create_endpoint(
            SITE, URL, self.manage, types=types, description="", is_ordered=is_ordered
        )
        assert created is not None
        return created

    async def append(self, *events: NewEvent) -> None:
        await append_events.append_events(events, self.append_deps)
        if self.sender is not None:
            self.sender.on_new_events()

    async def claim(self, *, restart: bool = False) -> EndpointSender | None:
        """The sender of the endpoint that can be leased, as the dispatcher would run it; None if there is none."""
        owned = (await self.leases.claim(self.deps.owner, lease_us=10 * SECOND_US)).kept
        if not owned:
            self.sender = None
            return None
        if self.sender is None or restart or self.sender.is_over:
            self.sender = EndpointSender(
                owned[0],
                self.deps,
                is_leased=lambda: True,
                wake_sender=lambda: None,
                wake_recorder=lambda: None,
            )
        running = await self.replays.find_running([owned[0].id])
        self.sender.update(owned[0], running[0] if running else None)
        return self.sender

    async def run(self, *, restart: bool = False) -> float | None:
        """Send what is due; returns the pause until something will be, None without a sender."""
        sender = await self.claim(restart=restart)
        if sender is None:
            return None
        while True:
            if await sender.record() is None:
                return None
            pause_s = await sender.step()
            if sender.is_idle:
                return pause_s
            await sender.settle()

    async def run_for(self, duration_us: int) -> None:
        """Let virtual time pass, from one due time to the next."""
        end_us = self.now_us + duration_us
        while self.now_us <= end_us:
            pause_s = await self.run()
            if pause_s is None:
                break
            self.now_us += max(math.ceil(pause_s * SECOND_US), SECOND_US // 100)
        self.now_us = max(self.now_us, end_us)

    async def relay(self) -> int:
        """Append the events about endpoints that wait in the outbox."""

        async def deliver(messages: Any) -> set[str]:
            await self.append(*(decode_event(message.value) for message in messages))
            return {message.id for message in messages}

        return await Relay(self.outbox, deliver, channel=FEED).deliver_due()

    async def find(self, endpoint_id: str) -> Endpoint:
        found = await self.endpoints.find(SITE, endpoint_id)
        assert found is not None
        return found

    async def enable(self, endpoint_id: str, *, is_enabled: bool = True) -> Endpoint:
        change = partial(manage_endpoints.set_enabled, is_enabled=is_enabled)
        changed = await manage_endpoints.change_endpoint(SITE, endpoint_id, change, self.manage)
        assert changed is not None
        return changed

    async def replay(
        self, endpoint_id: str, *, start: int = 0, end: int | None = None, only_failed: bool = False
    ) -> Replay:
        endpoint = await self.find(endpoint_id)
        replay = await manage_endpoints.start_replay(
            endpoint, self.manage, start=start, end=end, only_failed=only_failed
        )
        assert replay is not None
        return replay

    async def delivery(self, endpoint_id: str, sequence: int) -> Delivery:
        (found,) = [
            each
            for each in await self.deliveries.find_page(endpoint_id, before=None, rows=10_000)
            if each.sequence == sequence
        ]
        return found

    async def all_events(self) -> list[FeedEvent]:
        return list(await self.feed.read(FeedQuery(site=SITE, after=0, rows=100_000)))


COLLECTIONS = ("feed_events", "feeds", "webhook_endpoints", "webhook_deliveries", "webhook_replays", "webhook_senders")
_prepared: set[str] = set()


@pytest.fixture
async def harness(mongodb_uri: str) -> AsyncIterator[SenderHarness]:
    """An empty database; its indexes are created once for all tests of a process."""
    name = f"t-senders-{os.getpid()}"
    async with Mongo.connect(MongoSettings(mongodb_uri=mongodb_uri, mongodb_database=name)) as mongo:
        harness = SenderHarness(mongo)
        if name not in _prepared:
            await harness.prepare()
            _prepared.add(name)
        for collection in COLLECTIONS:
            await mongo.collection(collection).delete_many({})
        yield harness
