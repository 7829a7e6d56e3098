"""The outbox in MongoDB: what is stored is sent, at least once, and nothing else is held up."""

from collections import Counter
from collections.abc import AsyncIterator, Collection, Sequence
from typing import Any
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from services.chassis.kafka.producer import ProducerRecord
from services.chassis.mongodb import outbox
from services.chassis.mongodb.client import Mongo
from services.chassis.mongodb.outbox import MAX_BACKOFF_S, Message, Outbox, Relay
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.settings import MongoSettings
from tests.chassis.eventually import until

HOUR_US = 3_600_000_000
WAITING = "waiting for a dependency"


class FakeDelivery:
    """Delivers messages, unless it is set to fail."""

    def __init__(self) -> None:
        self.arrived: list[str] = []
        self.refused: set[str] = set()
        self.is_unavailable = False
        self.troubles: list[Exception] = []

    async def __call__(self, messages: Sequence[Message]) -> Collection[str]:
        if self.is_unavailable:
            raise UnavailableError("the post")
        if self.troubles:
            raise self.troubles.pop()
        taken = [message.id for message in messages if message.id not in self.refused]
        self.arrived += taken
        return taken


class Clock:
    def __init__(self) -> None:
        self.now_us = 1_000_000

    def __call__(self) -> int:
        return self.now_us


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["motor", "pymongo"])
async def mongo(request: pytest.FixtureRequest, mongodb_uri: str) -> AsyncIterator[Mongo]:
    settings = MongoSettings(
        mongodb_uri=mongodb_uri, mongodb_database=f"t{uuid4().hex[:12]}", mongo_driver=request.param
    )
    made = Mongo.connect(settings)
    yield made
    await made.client.drop_database(settings.mongodb_database)
    await made.close()


@pytest.fixture
async def store(mongo: Mongo, clock: Clock) -> Outbox:
    made = Outbox(mongo, ["one", "two"], now_us=clock)
    await made.create_indexes()
    return made


def message(name: str, *, channel: str = "kafka", created_us: int = 0) -> Message:
    return Message(id=name, channel=channel, target="topic", key=b"k", value=b"v", created_us=created_us)


async def put(mongo: Mongo, where: str, *messages: Message) -> None:
    await mongo.collection(where).insert_one({"outbox": outbox.to_outbox_field(messages)})


async def remaining(mongo: Mongo) -> list[str]:
    found = []
    for name in ("one", "two"):
        async for document in mongo.collection(name).find():
            found += [entry["id"] for entry in document["outbox"]]
    return found


async def test_messages_leave_once_in_their_order(mongo: Mongo, store: Outbox) -> None:
    await put(mongo, "one", message("a"), message("b"))
    await put(mongo, "two", message("c"))
    post = FakeDelivery()
    relay = Relay(store, post, channel="kafka")
    assert await relay.deliver_due() == 3
    assert await relay.deliver_due() == 0
    assert (post.arrived, await remaining(mongo)) == (["a", "b", "c"], [])


async def test_a_message_is_found_as_it_was_put(mongo: Mongo, store: Outbox) -> None:
    traced = Message(
        id="a", channel="kafka", target="topic", key=b"k", value=b"v", headers=(("h", b"\xff"),), created_us=5
    )
    await put(mongo, "one", traced)
    assert [found.message for found in await store.due("kafka")] == [traced]


async def test_channels_are_apart(mongo: Mongo, store: Outbox) -> None:
    await put(mongo, "one", message("a"), message("m", channel="mail"))
    post = FakeDelivery()
    await Relay(store, post, channel="kafka").deliver_due()
    assert (post.arrived, await remaining(mongo)) == (["a"], ["m"])


async def test_what_does_not_arrive_stays(mongo: Mongo, store: Outbox) -> None:
    await put(mongo, "one", message("a"))
    post = FakeDelivery()
    post.is_unavailable = True
    relay = Relay(store, post, channel="kafka")
    with pytest.raises(UnavailableError):
        await relay.deliver_due()
    post.is_unavailable = False
    assert await relay.deliver_due() == 1


async def test_what_arrived_is_not_delivered_again_after_its_removal_failed(
    mongo: Mongo, store: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks: MongoDB is away after the delivery. Must hold: the message is only removed, even if none may be sent."""
    await put(mongo, "one", message("a"))
    post, remove, allowed = FakeDelivery(), store.remove, True

    async def fail(delivered: Sequence[Any]) -> None:
        nonlocal allowed
        if delivered:
            allowed = False
            monkeypatch.setattr(store, "remove", remove)
            raise UnavailableError("MongoDB")

    monkeypatch.setattr(store, "remove", fail)
    channel = "kafka"
    sent = outbox.SENT.labels(channel)._value.get()
    relay = Relay(store, post, channel=channel, interval_s=0.01, start_when=lambda: allowed)
    await relay.start()

    async def is_removed() -> bool:
        return not await remaining(mongo)

    await until(is_removed)
    allowed = True
    assert await relay.deliver_due() == 0
    await relay.stop()
    assert post.arrived == ["a"]
    assert outbox.SENT.labels(channel)._value.get() == sent + 1


async def test_one_that_is_refused_holds_nobody_up_and_is_tried_ever_later(
    mongo: Mongo, store: Outbox, clock: Clock
) -> None:
    await put(mongo, "one", message("bad"), message("good"))
    post = FakeDelivery()
    post.refused = {"bad"}
    relay = Relay(store, post, channel="kafka")
    assert await relay.deliver_due() == 1
    tries = []
    for second in range(60):
        clock.now_us = 1_000_000 * (second + 2)
        before = len(await store.due("kafka"))
        await relay.deliver_due()
        tries += [second] if before else []
    assert tries == [4, 14, 34]
    post.refused = set()
    clock.now_us += 3_600_000_000
    assert await relay.deliver_due() == 1
    assert await remaining(mongo) == []


async def test_a_message_added_by_an_update(mongo: Mongo, store: Outbox) -> None:
    await put(mongo, "one", message("a"))
    await mongo.collection("one").update_one({}, outbox.outbox_push([message("b")]))
    post = FakeDelivery()
    await Relay(store, post, channel="kafka").deliver_due()
    assert post.arrived == ["a", "b"]


async def test_the_relay_wakes_when_it_is_woken(mongo: Mongo, store: Outbox) -> None:
    post = FakeDelivery()
    relay = Relay(store, post, channel="kafka", interval_s=60.0)
    await relay.start()
    await put(mongo, "one", message("a"))
    relay.wake()
    await until(lambda: post.arrived == ["a"])
    await relay.stop()
    assert relay.alive


async def test_neither_an_outage_nor_a_defect_ends_the_relay(mongo: Mongo, store: Outbox) -> None:
    await put(mongo, "one", message("a"))
    post = FakeDelivery()
    post.troubles = [UnavailableError("the post"), ValueError("a defect"), UnavailableError("the post")]
    relay = Relay(store, post, channel="kafka", interval_s=0.01)
    with capture_logs() as lines:
        await relay.start()
        await until(lambda: post.arrived == ["a"])
        await relay.stop()
    assert [line["event"] for line in lines] == [WAITING, "background task failed", WAITING]


async def test_nothing_is_sent_before_it_may_begin(mongo: Mongo, store: Outbox) -> None:
    await put(mongo, "one", message("a"))
    post, asked, allowed = FakeDelivery(), Counter[bool](), False

    def may_begin() -> bool:
        asked[allowed] += 1
        return allowed

    relay = Relay(store, post, channel="kafka", interval_s=0.01, start_when=may_begin)
    await relay.start()
    await until(lambda: asked[False] > 3)
    assert post.arrived == []
    allowed = True
    await until(lambda: post.arrived == ["a"])
    await relay.stop()


async def test_a_wake_up_while_it_looks_is_not_lost(
    store: Outbox, mongo: Mongo, monkeypatch: pytest.MonkeyPatch
) -> None:
    post, look = FakeDelivery(), store.due
    relay = Relay(store, post, channel="kafka", interval_s=60.0)

    async def overtaken(channel: str) -> Sequence[Any]:
        found = await look(channel)
        if not post.arrived and not found and not await remaining(mongo):
            await put(mongo, "one", message("a"))
            relay.wake()
        return found

    monkeypatch.setattr(store, "due", overtaken)
    await relay.start()
    await until(lambda: post.arrived == ["a"])
    await relay.stop()


async def test_the_longest_pause_is_an_hour(mongo: Mongo, store: Outbox, clock: Clock) -> None:
    await put(mongo, "one", message("bad"))
    await mongo.collection("one").update_one({}, {"$set": {"outbox.0.attempts": 40}})
    post = FakeDelivery()
    post.refused = {"bad"}
    await Relay(store, post, channel="kafka").deliver_due()
    for later_s, found in ((3_599, 0), (3_600, 1)):
        clock.now_us = (1 + later_s) * 1_000_000
        assert len(await store.due("kafka")) == found


async def test_it_counts_what_left_what_failed_and_how_long_the_oldest_has_waited(
    mongo: Mongo, store: Outbox, clock: Clock
) -> None:
    channel = uuid4().hex
    for name, created_us in (("bad", 2_000_000), ("a", 1_000_000), ("b", 3_000_000)):
        await put(mongo, "one", message(name, channel=channel, created_us=created_us))
    clock.now_us = 5_500_000
    post = FakeDelivery()
    post.refused = {"bad"}
    relay = Relay(store, post, channel=channel)
    await relay.deliver_due()
    told = (outbox.SENT, outbox.FAILED, outbox.OLDEST_SECONDS)
    assert [metric.labels(channel)._value.get() for metric in told] == [2, 1, 4.5]
    clock.now_us += 1_000_000
    assert await relay.deliver_due() == 0
    assert outbox.OLDEST_SECONDS.labels(channel)._value.get() == 4.5, "what was postponed waits on"
    post.refused = set()
    clock.now_us += 10_000_000
    assert [await relay.deliver_due(), await relay.deliver_due()] == [1, 0]
    assert outbox.OLDEST_SECONDS.labels(channel)._value.get() == 0


class FakeProducer:
    """Records what is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, list[ProducerRecord]]] = []

    async def send_by_key(self, topic: str, records: list[ProducerRecord]) -> None:
        self.sent.append((topic, records))


async def test_messages_to_kafka_go_to_their_topics_whole_and_in_order() -> None:
    line, trace = FakeProducer(), (("traceparent", b"00-1"),)
    messages = [
        Message(id=name, channel="kafka", target=topic, key=b"k", value=name.encode(), headers=trace, created_us=0)
        for name, topic in (("a", "x"), ("b", "y"), ("c", "x"))
    ]
    assert await outbox.kafka_delivery(line)(messages) == {"a", "b", "c"}  # type: ignore[arg-type]
    assert line.sent == [
        ("x", [ProducerRecord(b"k", b"a", trace), ProducerRecord(b"k", b"c", trace)]),
        ("y", [ProducerRecord(b"k", b"b", trace)]),
    ]


async def test_a_message_stored_under_a_clock_that_was_ahead_is_delivered_at_once(mongo: Mongo, store: Outbox) -> None:
    await put(mongo, "one", message("a", created_us=3 * HOUR_US))
    assert await Relay(store, FakeDelivery(), channel="kafka").deliver_due() == 1


@pytest.mark.parametrize("back_us", [HOUR_US // 2, 3 * HOUR_US, 24 * HOUR_US])
async def test_a_refused_message_waits_no_longer_when_the_clock_goes_back(
    mongo: Mongo, store: Outbox, clock: Clock, back_us: int
) -> None:
    clock.now_us = 48 * HOUR_US
    await put(mongo, "one", message("a", created_us=clock.now_us))
    post = FakeDelivery()
    post.refused = {"a"}
    relay = Relay(store, post, channel="kafka")
    await relay.deliver_due()
    post.refused = set()
    clock.now_us -= back_us
    # The longest pause, whatever the clock did.
    clock.now_us += MAX_BACKOFF_S * 1_000_000
    assert await relay.deliver_due() == 1
