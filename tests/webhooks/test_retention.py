"""Events, deliveries and replays are kept for 30 days, and what has expired is missed by nothing else."""

from datetime import UTC, datetime

import pytest

from services.chassis.mongodb.client import Mongo
from services.webhooks.adapters.delivery_store import DELIVERIES, REPLAYS
from services.webhooks.adapters.endpoint_store import ENDPOINTS
from services.webhooks.adapters.feed_store import EVENTS, FEEDS
from services.webhooks.adapters.lease_store import SENDERS
from services.webhooks.domain.delivery import DeliveryState
from services.webhooks.domain.event import FeedQuery
from tests.webhooks.events import NOON_US, SITE, an_event, some_events
from tests.webhooks.feed_fixtures import mongo
from tests.webhooks.sender_harness import SECOND_US, SenderHarness, harness

__all__ = ["harness", "mongo"]

DAY_S = 86_400


async def ttl_of(mongo: Mongo, collection: str) -> dict[str, int]:
    """The seconds that documents are kept, by the field with their date."""
    indexes = await mongo.collection(collection).index_information()
    return {
        index["key"][0][0]: int(index["expireAfterSeconds"])
        for index in indexes.values()
        if "expireAfterSeconds" in index
    }


@pytest.mark.parametrize(
    ("collection", "field"), [(EVENTS, "recorded"), (DELIVERIES, "recorded"), (REPLAYS, "created"), (FEEDS, None)]
)
async def test_mongodb_deletes_after_thirty_days(mongo: Mongo, collection: str, field: str | None) -> None:
    """The head of a feed stays: sequences go on after a quiet month. A changed setting changes the existing index."""
    await SenderHarness(mongo).prepare()
    assert await ttl_of(mongo, collection) == ({field: 30 * DAY_S} if field else {})
    harness = SenderHarness(mongo)
    await harness.feed.create_indexes(retention_days=7)
    await harness.deliveries.create_indexes(retention_days=7)
    await harness.replays.create_indexes(retention_days=7)
    assert await ttl_of(mongo, collection) == ({field: 7 * DAY_S} if field else {})


async def test_the_date_is_when_it_was_recorded(harness: SenderHarness) -> None:
    """Retries do not prolong a delivery's time."""
    await harness.create()
    await harness.run()
    harness.transport.answer = lambda _: 500
    await harness.append(an_event(1))
    stored = await harness.mongo.collection(EVENTS).find_one({})
    noon = datetime.fromtimestamp(NOON_US / SECOND_US, UTC)
    assert stored["recorded"] == noon
    await harness.run()
    first = await harness.mongo.collection(DELIVERIES).find_one({"sequence": 1})
    assert first["recorded"] == noon
    await harness.run_for(600 * SECOND_US)
    again = await harness.mongo.collection(DELIVERIES).find_one({"sequence": 1})
    assert len(again["tries"]) > len(first["tries"])
    assert again["recorded"] == first["recorded"]


async def test_whatever_expires_is_dated_by_the_brokers_clock(harness: SenderHarness) -> None:
    """F20. Breaks: the local clock is a month behind. MongoDB would delete at once what that had dated."""
    endpoint, _ = await harness.create()
    await harness.leases.claim("process", lease_us=SECOND_US)
    await harness.append(an_event(1))
    await harness.replay(endpoint.id)
    await harness.endpoints.delete(SITE, endpoint.id)
    noon = datetime.fromtimestamp(harness.now_us / SECOND_US, UTC)
    for collection, field in ((SENDERS, "renewed"), (REPLAYS, "created"), (ENDPOINTS, "deleted")):
        stored = await harness.mongo.collection(collection).find_one({field: {"$exists": True}})
        assert stored[field] == noon, collection


async def expire(harness: SenderHarness, *sequences: int) -> None:
    """Delete events as MongoDB does."""
    await harness.mongo.collection(EVENTS).delete_many({"sequence": {"$in": list(sequences)}})


async def test_an_old_cursor_continues_with_what_is_left(harness: SenderHarness) -> None:
    await harness.append(*some_events(6))
    await expire(harness, 1, 2, 3)
    events = await harness.feed.read(FeedQuery(site=SITE, after=1, rows=10))
    assert [event.sequence for event in events] == [4, 5, 6]
    assert await harness.feed.find_position(SITE, NOON_US - 1) == 3


async def test_a_retry_of_an_event_that_has_expired_has_failed(harness: SenderHarness) -> None:
    """It is shown as such, and holds up nothing."""
    endpoint, _ = await harness.create(is_ordered=True)
    await harness.run()
    harness.transport.answer = lambda _: 500
    await harness.append(an_event(1))
    await harness.run()
    await expire(harness, 1)
    harness.transport.answer = lambda _: 200
    await harness.append(an_event(2))
    await harness.run_for(60 * SECOND_US)
    delivery = await harness.delivery(endpoint.id, 1)
    assert (delivery.state, len(delivery.tries)) == (DeliveryState.FAILED, 1)
    assert harness.transport.sequences == [1, 2]


async def test_an_endpoint_behind_the_oldest_event_goes_on_with_it(harness: SenderHarness) -> None:
    await harness.create()
    await harness.run()
    await harness.append(*some_events(5))
    await expire(harness, 1, 2)
    await harness.run()
    assert sorted(harness.transport.sequences) == [3, 4, 5]
