"""Movements on their topic: every change of a sum once, or again with the same id."""

import random
from collections.abc import AsyncIterator, Iterable

import pytest

from services import topics
from services.chassis.avro.schemas import Schemas
from services.chassis.kafka.producer import ProducerRecord
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.settings import REPOSITORY
from services.ledger.adapters.collections import MOVEMENTS
from services.ledger.adapters.publisher import MAX_MOVEMENTS_PER_RUN, MovementPublisher
from services.ledger.domain.sums import without_store
from services.ledger.wire.movements import MovementEncoder
from tests.ledger.fuzzing import Model, a_stream
from tests.ledger.harness import Harness, open_mongo
from tests.ledger.published_rows import sums_of
from tests.ledger.records import SITE, an_order

SCHEMAS = Schemas.load(REPOSITORY / "schemas")


class FakeProducer:
    """Keeps what is sent; after that it fails as often as it should."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, ProducerRecord]] = []
        self.failures = 0

    async def send_by_key(self, topic: str, records: Iterable[ProducerRecord]) -> None:
        self.sent += [(topic, record) for record in records]
        if self.failures:
            self.failures -= 1
            raise UnavailableError("Kafka")

    @property
    def rows(self) -> list[bytes]:
        return [record.value or b"" for _, record in self.sent]


@pytest.fixture
async def empty_mongo(mongodb_uri: str) -> AsyncIterator[Mongo]:
    """A database of one test: a publisher publishes all that is there."""
    async with open_mongo(mongodb_uri) as mongo:
        yield mongo


@pytest.fixture
def producer() -> FakeProducer:
    return FakeProducer()


@pytest.fixture
def publisher(empty_mongo: Mongo, producer: FakeProducer) -> MovementPublisher:
    return MovementPublisher(empty_mongo, producer, MovementEncoder(SCHEMAS))  # type: ignore[arg-type]


async def test_what_is_folded_is_published_and_deleted(
    empty_mongo: Mongo, publisher: MovementPublisher, producer: FakeProducer
) -> None:
    harness = Harness(empty_mongo)
    await harness.record(an_order(channel="a|b"))
    assert await publisher.publish() == 0
    await harness.fold()
    assert await publisher.publish() == 1
    ((topic, record),) = producer.sent
    assert (topic, record.key) == (topics.LEDGER_MOVEMENTS.name, f"{SITE}|a%7Cb".encode())
    assert await empty_mongo.collection(MOVEMENTS).count_documents({}) == 0
    assert await publisher.publish() == 0


@pytest.mark.parametrize("seed", range(5))
async def test_the_rows_add_up_to_the_sums_and_name_nobody(
    empty_mongo: Mongo, publisher: MovementPublisher, producer: FakeProducer, seed: int
) -> None:
    harness, records = Harness(empty_mongo), a_stream(random.Random(seed), seed)  # noqa: S311 - repeatable
    model = Model(seed, harness.keys.of_site(seed))
    model.apply(records)
    for record in records:
        await harness.record(record)
    await harness.fold()
    while await publisher.publish():
        pass
    assert sums_of(producer.rows) == without_store(model.sums(harness))
    users = {record.user_id.encode() for record in records}
    assert not [row for row in producer.rows for user in users if user in row]


async def test_rows_that_were_not_acknowledged_are_sent_again_with_their_ids(
    empty_mongo: Mongo, publisher: MovementPublisher, producer: FakeProducer
) -> None:
    harness, producer.failures = Harness(empty_mongo), 1
    await harness.record(an_order("1"), an_order("2", channel="shop"))
    await harness.fold()
    with pytest.raises(UnavailableError):
        await publisher.publish()
    first = producer.rows
    assert await publisher.publish() == 1
    assert producer.rows == [*first, *first]
    assert len(first) == 2


async def test_a_run_is_bounded(empty_mongo: Mongo, publisher: MovementPublisher) -> None:
    harness = Harness(empty_mongo)
    for number in range(MAX_MOVEMENTS_PER_RUN + 1):
        await harness.record(an_order(str(number)))
    await harness.fold()
    assert [await publisher.publish() for _ in range(3)] == [MAX_MOVEMENTS_PER_RUN, 1, 0]
