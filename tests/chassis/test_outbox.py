"""The outbox in MongoDB: what is stored is sent, at least once, and nothing else is held up."""

from collections.abc import AsyncIterator, Collection, Sequence
from uuid import uuid4

import pytest

from services.chassis import outbox
from services.chassis.errors import Away
from services.chassis.mongo import Mongo
from services.chassis.outbox import Message, Outbox, Relay
from services.chassis.settings import MongoSettings
from tests.chassis.eventually import until


class Post:
    """Takes messages, unless it is told not to."""

    def __init__(self) -> None:
        self.arrived: list[str] = []
        self.refused: set[str] = set()
        self.is_away = False

    async def __call__(self, messages: Sequence[Message]) -> Collection[str]:
        if self.is_away:
            raise Away("the post")
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
async def box(mongo: Mongo, clock: Clock) -> Outbox:
    made = Outbox(mongo, ["one", "two"], now_us=clock)
    await made.prepare()
    return made


def message(name: str, *, channel: str = "kafka", at_us: int = 0) -> Message:
    return Message(id=name, channel=channel, target="topic", key=b"k", value=b"v", at_us=at_us)


async def put(mongo: Mongo, where: str, *messages: Message) -> None:
    await mongo.collection(where).insert_one({"outbox": outbox.field_of(messages)})


async def left(mongo: Mongo) -> list[str]:
    found = []
    for name in ("one", "two"):
        async for document in mongo.collection(name).find():
            found += [entry["id"] for entry in document["outbox"]]
    return found


async def test_messages_leave_once_in_their_order(mongo: Mongo, box: Outbox) -> None:
    await put(mongo, "one", message("a"), message("b"))
    await put(mongo, "two", message("c"))
    post = Post()
    relay = Relay(box, post, channel="kafka")
    assert await relay.once() == 3
    assert await relay.once() == 0
    assert (post.arrived, await left(mongo)) == (["a", "b", "c"], [])


async def test_a_message_is_found_as_it_was_put(mongo: Mongo, box: Outbox) -> None:
    traced = Message(id="a", channel="kafka", target="topic", key=b"k", value=b"v", headers=(("h", b"\xff"),), at_us=5)
    await put(mongo, "one", traced)
    assert [found.message for found in await box.waiting("kafka")] == [traced]


async def test_channels_are_apart(mongo: Mongo, box: Outbox) -> None:
    await put(mongo, "one", message("a"), message("m", channel="mail"))
    post = Post()
    await Relay(box, post, channel="kafka").once()
    assert (post.arrived, await left(mongo)) == (["a"], ["m"])


async def test_what_does_not_arrive_stays(mongo: Mongo, box: Outbox) -> None:
    await put(mongo, "one", message("a"))
    post = Post()
    post.is_away = True
    relay = Relay(box, post, channel="kafka")
    with pytest.raises(Away):
        await relay.once()
    post.is_away = False
    assert await relay.once() == 1


async def test_one_that_is_refused_holds_nobody_up_and_is_tried_ever_later(
    mongo: Mongo, box: Outbox, clock: Clock
) -> None:
    await put(mongo, "one", message("bad"), message("good"))
    post = Post()
    post.refused = {"bad"}
    relay = Relay(box, post, channel="kafka")
    assert await relay.once() == 1
    tries = []
    for second in range(60):
        clock.now_us = 1_000_000 * (second + 2)
        before = len(await box.waiting("kafka"))
        await relay.once()
        tries += [second] if before else []
    assert tries == [4, 14, 34]
    post.refused = set()
    clock.now_us += 3_600_000_000
    assert await relay.once() == 1
    assert await left(mongo) == []


async def test_a_message_added_by_an_update(mongo: Mongo, box: Outbox) -> None:
    await put(mongo, "one", message("a"))
    await mongo.collection("one").update_one({}, outbox.push_of([message("b")]))
    post = Post()
    await Relay(box, post, channel="kafka").once()
    assert post.arrived == ["a", "b"]


async def test_the_relay_wakes_when_it_is_nudged(mongo: Mongo, box: Outbox) -> None:
    post = Post()
    relay = Relay(box, post, channel="kafka", every_s=60.0)
    await relay.start()
    await put(mongo, "one", message("a"))
    relay.nudge()
    await until(lambda: post.arrived == ["a"])
    await relay.stop()
    assert relay.alive
