"""No order is confirmed that a majority of MongoDB's members does not have, however often it is sent."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from sandbox.mongo import ReplicaSet
from services.chassis.mongodb import outbox
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.settings import MongoSettings
from services.fulfilment.adapters.transactions import TRANSACTIONS
from services.fulfilment.domain.listing import TransactionQuery
from services.fulfilment.wire.events import KAFKA
from tests.fulfilment.harness import PRODUCTS, SITE, Clock, Harness, build_mongo_harness
from tests.status.test_settling import standing_still

pytestmark = pytest.mark.long


@pytest.mark.parametrize(
    "again",
    [{"transaction_id": "own", "is_retry": True}, {"transaction_id": "own"}, {"clientOrderNumber": "n"}],
    ids=["a retry that knows it is one", "a retry", "the same number"],
)
async def test_an_order_that_finds_itself_waits_until_a_majority_has_it(tmp_path: Path, again: dict[str, Any]) -> None:
    """Breaks: both secondaries stand still once the order has its place. Must hold: no word of success meanwhile."""
    with ReplicaSet(tmp_path, nodes=3) as three:
        async with _opened(three) as harness:
            with _known_to_the_primary_alone(three, harness):
                with pytest.raises(UnavailableError):
                    await harness.place(("CARD", 1), transaction_id="own", clientOrderNumber="n")
                with pytest.raises(UnavailableError):
                    await harness.place(("CARD", 1), **again)
            placed = await _until_answered(lambda: harness.place(("CARD", 1), **again))
            assert await harness.transactions.find_page(TransactionQuery(site=SITE)) == [placed.transaction]


async def test_no_event_of_an_order_leaves_before_a_majority_has_it(tmp_path: Path) -> None:
    """Breaks: likewise. Must hold: nobody hears of an order that a new primary may not know."""
    with ReplicaSet(tmp_path, nodes=3) as three:
        async with _opened(three) as harness, _connected(three) as mongo:
            waiting = outbox.Outbox(mongo, [TRANSACTIONS], now_us=harness.clock)
            await _until_answered(waiting.create_indexes)
            with _known_to_the_primary_alone(three, harness):
                with pytest.raises(UnavailableError):
                    await harness.place(("CARD", 1), transaction_id="own")
                assert await harness.transactions.find("own") is not None, "the primary has it"
                assert await waiting.due(KAFKA) == []

            async def told() -> Any:
                found = await waiting.due(KAFKA)
                if not found:
                    raise UnavailableError("a majority")
                return found

            assert len(await _until_answered(told)) == 1


@contextmanager
def _known_to_the_primary_alone(three: ReplicaSet, harness: Harness) -> Iterator[None]:
    """Whatever is placed: the secondaries stand still, and an order's place is taken for given."""
    enter = harness.purchase_orders.reserve_sequence

    async def entered(_: object) -> int:
        return 1

    harness.purchase_orders.reserve_sequence = entered
    try:
        with standing_still(three):
            yield
    finally:
        harness.purchase_orders.reserve_sequence = enter


@asynccontextmanager
async def _connected(three: ReplicaSet) -> AsyncIterator[Mongo]:
    """A primary that hears of nobody for ten seconds is none: it must answer long before."""
    mongo = Mongo.connect(MongoSettings(mongodb_uri=three.uri, mongodb_timeout_ms=500))
    try:
        yield mongo
    finally:
        await mongo.close()


@asynccontextmanager
async def _opened(three: ReplicaSet) -> AsyncIterator[Harness]:
    """A harness that sells."""
    async with _connected(three) as mongo:
        harness = build_mongo_harness(mongo, Clock())
        await _until_answered(harness.purchase_orders.create_indexes)
        await _until_answered(harness.transactions.create_indexes)
        await _until_answered(lambda: harness.products.put(PRODUCTS[0]))
        yield harness


async def _until_answered(work: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(60):
        while True:
            with suppress(UnavailableError):
                return await work()
