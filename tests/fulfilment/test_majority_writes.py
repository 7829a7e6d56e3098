"""An order is confirmed only once a majority of the replica set has it, however often it is sent."""

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
from tests.status.test_durability import paused

pytestmark = pytest.mark.long


@pytest.mark.parametrize(
    "again",
    [{"transaction_id": "own", "is_retry": True}, {"transaction_id": "own"}, {"clientOrderNumber": "n"}],
    ids=["a retry that knows it is one", "a retry", "the same number"],
)
async def test_an_order_that_finds_itself_waits_until_a_majority_has_it(tmp_path: Path, again: dict[str, Any]) -> None:
    """Breaks: both secondaries stop once the sequence is reserved. Must hold: no success is reported meanwhile."""
    with ReplicaSet(tmp_path, nodes=3) as replica_set:
        async with _open_harness(replica_set) as harness:
            with _writes_on_primary_only(replica_set, harness):
                with pytest.raises(UnavailableError):
                    await harness.place(("CARD", 1), transaction_id="own", clientOrderNumber="n")
                with pytest.raises(UnavailableError):
                    await harness.place(("CARD", 1), **again)
            placed = await _retry_until_available(lambda: harness.place(("CARD", 1), **again))
            assert await harness.transactions.find_page(TransactionQuery(site=SITE)) == [placed.transaction]


async def test_no_event_of_an_order_leaves_before_a_majority_has_it(tmp_path: Path) -> None:
    """Breaks: the same. Must hold: no order is announced that a new primary may not have."""
    with ReplicaSet(tmp_path, nodes=3) as replica_set:
        async with _open_harness(replica_set) as harness, _connect(replica_set) as mongo:
            messages = outbox.Outbox(mongo, [TRANSACTIONS], now_us=harness.clock)
            await _retry_until_available(messages.create_indexes)
            with _writes_on_primary_only(replica_set, harness):
                with pytest.raises(UnavailableError):
                    await harness.place(("CARD", 1), transaction_id="own")
                assert await harness.transactions.find("own") is not None, "the primary has it"
                assert await messages.due(KAFKA) == []

            async def due_messages() -> Any:
                found = await messages.due(KAFKA)
                if not found:
                    raise UnavailableError("a majority")
                return found

            assert len(await _retry_until_available(due_messages)) == 1


@contextmanager
def _writes_on_primary_only(replica_set: ReplicaSet, harness: Harness) -> Iterator[None]:
    """Stop the secondaries, and reserve sequence numbers without MongoDB."""
    reserve_sequence = harness.purchase_orders.reserve_sequence

    async def first_sequence(_: object) -> int:
        return 1

    harness.purchase_orders.reserve_sequence = first_sequence
    try:
        with paused(replica_set):
            yield
    finally:
        harness.purchase_orders.reserve_sequence = reserve_sequence


@asynccontextmanager
async def _connect(replica_set: ReplicaSet) -> AsyncIterator[Mongo]:
    """A primary without secondaries steps down after ten seconds: operations must time out before."""
    async with Mongo.connect(MongoSettings(mongodb_uri=replica_set.uri, mongodb_timeout_ms=500)) as mongo:
        yield mongo


@asynccontextmanager
async def _open_harness(replica_set: ReplicaSet) -> AsyncIterator[Harness]:
    """Yield a harness with one product."""
    async with _connect(replica_set) as mongo:
        harness = build_mongo_harness(mongo, Clock())
        await _retry_until_available(harness.purchase_orders.create_indexes)
        await _retry_until_available(harness.transactions.create_indexes)
        await _retry_until_available(lambda: harness.products.put(PRODUCTS[0]))
        yield harness


async def _retry_until_available(work: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(60):
        while True:
            with suppress(UnavailableError):
                return await work()
