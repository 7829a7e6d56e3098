"""Processes share the endpoints, and take over from those that stop or die."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack

import pytest

from services.chassis.mongodb.client import Mongo
from services.webhooks import background
from services.webhooks.adapters.http_transport import HttpTransport
from services.webhooks.adapters.lease_store import SENDERS, MongoLeaseStore
from services.webhooks.adapters.notifier import SiteNotifier
from services.webhooks.background import Dispatcher
from services.webhooks.domain.delivery import DeliveryState, Outcome
from services.webhooks.domain.endpoint import Endpoint, Progress
from services.webhooks.domain.leases import Leases, fair_share
from services.webhooks.flows.send_events import EndpointSender
from tests.chassis.eventually import until
from tests.webhooks.events import NOON_US, SITE, an_event, some_events
from tests.webhooks.feed_fixtures import mongo
from tests.webhooks.sender_harness import SECOND_US, SenderHarness
from tests.webhooks.sender_process import build, now_us

__all__ = ["mongo"]

LEASE_US = 10 * SECOND_US
# No lease expires on a machine that is slow: tests wake the dispatchers.
LONG_S = 600.0


@pytest.mark.parametrize(
    ("endpoints", "processes", "share"),
    [(0, 1, 0), (5, 0, 5), (5, 1, 5), (5, 2, 3), (4, 2, 2), (1, 3, 1), (100, 3, 34)],
)
def test_the_shares_hold_all_endpoints(endpoints: int, processes: int, share: int) -> None:
    assert fair_share(endpoints, processes) == share
    assert share * max(processes, 1) >= endpoints


@pytest.fixture
async def harness(mongo: Mongo) -> SenderHarness:
    return await SenderHarness(mongo).prepare()


async def add_endpoints(harness: SenderHarness, count: int) -> None:
    for number in range(count):
        secret = harness.sealer.seal(f"e{number}", b"x" * 32)
        url = "https://shop.example/"
        assert await harness.endpoints.add(
            Endpoint(id=f"e{number}", site=SITE, url=url, created_us=0, secrets=(secret,), position=0)
        )


Claim = Callable[[str], Awaitable[list[str]]]


@pytest.fixture
def clock() -> list[int]:
    return [NOON_US]


@pytest.fixture
def claim(mongo: Mongo, clock: list[int]) -> Claim:
    """Claim as the dispatcher does: what is more than the share is released."""
    store = MongoLeaseStore(mongo, now_us=lambda: clock[0])

    async def claim(owner: str) -> list[str]:
        leases = await store.claim(owner, lease_us=LEASE_US)
        await store.release(owner, [endpoint.id for endpoint in leases.excess])
        return [endpoint.id for endpoint in leases.kept]

    return claim


async def test_leases_are_balanced_when_a_process_starts(harness: SenderHarness, claim: Claim) -> None:
    await add_endpoints(harness, 7)
    assert len(await claim("a")) == 7
    assert await claim("b") == []
    first = await claim("a")
    second = await claim("b")
    assert (len(first), len(second)) == (4, 3)
    assert not set(first) & set(second)
    assert (await claim("a"), await claim("b")) == (first, second)


async def test_the_leases_of_a_process_that_died_are_taken_over(
    harness: SenderHarness, claim: Claim, clock: list[int]
) -> None:
    await add_endpoints(harness, 4)
    await claim("a")
    await claim("b")
    await claim("a")
    assert len(await claim("b")) == 2
    for _ in range(4):
        clock[0] += LEASE_US // 3
        found = await claim("a")
    assert len(found) == 4


async def test_leases_from_a_wrong_clock_do_not_last(harness: SenderHarness, claim: Claim, clock: list[int]) -> None:
    """Breaks: a process whose clock is a year ahead dies. Must hold: its leases are not kept for a year."""
    await add_endpoints(harness, 2)
    clock[0] = NOON_US + 365 * 86_400 * SECOND_US
    assert len(await claim("a")) == 2
    clock[0] = NOON_US
    assert len(await claim("b")) == 2


async def test_progress_is_the_lease_holders(harness: SenderHarness, claim: Claim) -> None:
    await add_endpoints(harness, 1)
    (endpoint_id,) = await claim("a")
    progress = Progress(5, 0, None)
    assert not await harness.endpoints.save_progress(endpoint_id, "b", progress)
    assert await harness.endpoints.save_progress(endpoint_id, "a", progress)
    assert (await harness.find(endpoint_id)).position == 5


@pytest.fixture
async def start(mongo: Mongo) -> AsyncIterator[Callable[[], Awaitable[Dispatcher]]]:
    """Start a dispatcher, as another process would."""
    async with AsyncExitStack() as stack:
        transport = HttpTransport(now_us=now_us, allow_loopback=True)
        await transport.start()
        stack.push_async_callback(transport.stop)

        async def start() -> Dispatcher:
            dispatcher = build(mongo, SiteNotifier(max_waiters=0), transport, lease_s=LONG_S)
            await dispatcher.start()
            stack.push_async_callback(dispatcher.stop)
            return dispatcher

        yield start


async def test_dispatchers_share_endpoints(harness: SenderHarness, start: Callable[[], Awaitable[Dispatcher]]) -> None:
    """No endpoint has two senders, and each has one in the end."""
    await add_endpoints(harness, 9)
    first = await start()
    await until(lambda: len(first.senders) == 9)
    second = await start()

    async def are_both_known() -> bool:
        return bool(await harness.mongo.collection(SENDERS).count_documents({}) == 2)

    def are_apart() -> bool:
        second.wake()
        assert not first.senders.keys() & second.senders.keys()
        return (len(first.senders), len(second.senders)) == (5, 4)

    await until(are_both_known)
    first.wake()
    await until(are_apart)
    await first.stop()
    second.wake()
    await until(lambda: len(second.senders) == 9)


class HangingTransport:
    """Accepts each event once it is `released`; answers 410 to a feed's first one once `gone` is set."""

    def __init__(self) -> None:
        self.hanging = 0
        self.released = asyncio.Event()
        self.gone = asyncio.Event()

    async def post(self, _url: str, _headers: Mapping[str, str], body: bytes) -> Outcome:
        self.hanging += 1
        waits = [asyncio.create_task(self.released.wait())]
        if json.loads(body)["sequence"] == 1:
            waits.append(asyncio.create_task(self.gone.wait()))
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        return Outcome(at_us=now_us(), latency_ms=1, status=200 if self.released.is_set() else 410)


def task_names() -> set[str]:
    return {task.get_name() for task in asyncio.all_tasks()}


async def test_a_process_that_stops_while_it_stops_a_sender_records_what_is_in_flight(
    harness: SenderHarness, mongo: Mongo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "DRAIN_S", 30.0)
    await add_endpoints(harness, 1)
    transport = HangingTransport()
    dispatcher = build(mongo, SiteNotifier(max_waiters=0), transport, lease_s=LONG_S)  # type: ignore[arg-type]
    await dispatcher.start()
    await until(lambda: len(dispatcher.senders) == 1)
    await harness.append(an_event(1))
    dispatcher.on_new_events(None)
    await until(lambda: transport.hanging == 1)
    await harness.enable("e0", is_enabled=False)
    dispatcher.wake()
    await until(lambda: "sender e0" not in task_names())
    stopping = asyncio.create_task(dispatcher.stop())
    await until(lambda: "dispatcher" not in task_names())
    transport.released.set()
    await stopping
    assert "recorder e0" not in task_names()
    assert (await harness.delivery("e0", 1)).state is DeliveryState.DELIVERED


async def test_senders_that_are_over_are_replaced_together(
    harness: SenderHarness, mongo: Mongo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks: receivers hang while their endpoints are disabled and enabled. Must hold: renewal waits once for all."""
    draining, drain = 0, EndpointSender.drain

    async def count(self: EndpointSender, timeout_s: float) -> None:
        nonlocal draining
        draining += 1
        await drain(self, timeout_s)

    monkeypatch.setattr(EndpointSender, "drain", count)
    monkeypatch.setattr(background, "DRAIN_S", 30.0)
    await add_endpoints(harness, 4)
    transport = HangingTransport()
    dispatcher = build(mongo, SiteNotifier(max_waiters=0), transport, lease_s=LONG_S)  # type: ignore[arg-type]
    await dispatcher.start()
    await until(lambda: len(dispatcher.senders) == 4)
    await harness.append(*some_events(2))
    dispatcher.on_new_events(None)
    await until(lambda: transport.hanging == 8)
    before = dict(dispatcher.senders)
    transport.gone.set()
    await until(lambda: all(sender.is_over for sender in before.values()))
    for endpoint_id in before:
        await harness.enable(endpoint_id)
    dispatcher.wake()
    await until(lambda: draining == 4)
    transport.released.set()
    await until(lambda: len(dispatcher.senders) == 4 and not set(dispatcher.senders.values()) & set(before.values()))
    await dispatcher.stop()


class SlowLeases(MongoLeaseStore):
    """Claims once it may, also when the caller has gone, as Motor's threads do."""

    def __init__(self, mongo: Mongo) -> None:
        super().__init__(mongo, now_us=now_us)
        self.claiming, self.may_claim = asyncio.Event(), asyncio.Event()
        self.calls: list[str] = []

    async def claim(self, owner: str, *, lease_us: int) -> Leases:
        self.claiming.set()
        await self.may_claim.wait()
        leases = await super().claim(owner, lease_us=lease_us)
        self.calls.append("claimed")
        return leases

    async def leave(self, owner: str) -> None:
        self.calls.append("left")
        await super().leave(owner)


async def test_a_process_that_stops_while_it_claims_leaves_no_lease(harness: SenderHarness, mongo: Mongo) -> None:
    await add_endpoints(harness, 2)
    leases = SlowLeases(mongo)
    dispatcher = build(mongo, SiteNotifier(max_waiters=0), HangingTransport(), lease_s=LONG_S, leases=leases)  # type: ignore[arg-type]
    await dispatcher.start()
    await leases.claiming.wait()
    stopping = asyncio.create_task(dispatcher.stop())
    await until(lambda: "dispatcher" not in task_names())
    leases.may_claim.set()
    await stopping
    assert leases.calls == ["claimed", "left"]
    assert await mongo.collection(SENDERS).count_documents({}) == 0
    found = await MongoLeaseStore(mongo, now_us=now_us).claim("b", lease_us=LEASE_US)
    assert len(found.kept) == 2
