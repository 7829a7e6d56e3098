"""Orders, codes, events and invoices are shown, counted and published once a majority of the replica set has them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from sandbox.mongo import ReplicaSet
from services.chassis.mongodb import outbox
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.settings import MongoSettings
from services.fulfilment.adapters.transactions import TRANSACTIONS
from services.fulfilment.domain.customer import BillingDetails
from services.fulfilment.domain.invoice import Invoice, draft_invoice
from services.fulfilment.domain.listing import TransactionQuery
from services.fulfilment.domain.slots import slot_keys
from services.fulfilment.flows import close_day
from services.fulfilment.wire.events import KAFKA
from tests.fulfilment.fakes import merge_lines
from tests.fulfilment.harness import ISSUER, PRODUCTS, SITE, Clock, Harness, build_mongo_harness, transactions_of
from tests.support.replica_sets import suspended_secondaries


@pytest.mark.long
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


async def test_nothing_is_concluded_from_what_only_the_primary_has(tmp_path: Path) -> None:
    """Breaks: writes reach only a primary that is about to be replaced; it answers reads until then.

    Must hold: its codes are not disclosed, its slots are not counted, its transactions are not invoiced, its documents
    do not count as issued. All of it may be lost, and what was concluded from it would not be.
    """
    with ReplicaSet(tmp_path, nodes=3) as replica_set:
        async with _open_harness(replica_set) as harness:
            await _retry_until_available(lambda: harness.load("CARD", "one"))
            placed = (await _retry_until_available(lambda: harness.place(("CARD", 1)))).transaction
            closing = await harness.purchase_orders.begin_closing(placed.purchase_order)
            customer = BillingDetails(SITE, "Customer")
            draft = draft_invoice(closing, merge_lines([placed]), issuer=ISSUER, customer=customer, issued_us=0)
            slots = list(slot_keys(placed.id, 0, 1))
            late = replace(placed, id="late", client_order_number=None, sequence=2)
            with suspended_secondaries(replica_set):
                for write in (
                    harness.stock.allocate("CARD", slots, now_us=0),
                    harness.transactions.add(late),
                    harness.invoices.add(Invoice(draft, 1)),
                ):
                    with pytest.raises(UnavailableError):
                        await write
                assert await harness.transactions.find("late"), "the primary has it"
                assert await harness.stock.filled_slots(placed.id, 0) == []
                assert await harness.stock.slots_with_codes(placed.id, 0) == []
                assert await harness.transactions.unused_sequences(replace(closing, last_sequence=2)) == [2]
                assert await transactions_of(harness, closing.id) == [placed]
                assert await harness.invoices.list_by_purchase_order(closing.id) == []
                assert await harness.invoices.last_number(SITE, draft.year) == 0
                with pytest.raises(UnavailableError):
                    await close_day.close_purchase_order(closing, harness.close_day_deps)
            await _retry_until_available(lambda: close_day.close_purchase_order(closing, harness.close_day_deps))
            assert len(await harness.invoices.list_by_purchase_order(closing.id)) == 1


@contextmanager
def _writes_on_primary_only(replica_set: ReplicaSet, harness: Harness) -> Iterator[None]:
    """Stop the secondaries, and reserve sequence numbers without MongoDB."""
    reserve_sequence = harness.purchase_orders.reserve_sequence

    async def first_sequence(_: object) -> int:
        return 1

    harness.purchase_orders.reserve_sequence = first_sequence
    try:
        with suspended_secondaries(replica_set):
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
        await _retry_until_available(harness.invoices.create_indexes)
        await _retry_until_available(harness.stock.create_indexes)
        await _retry_until_available(lambda: harness.products.put(PRODUCTS[0]))
        yield harness


async def _retry_until_available(work: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(60):
        while True:
            with suppress(UnavailableError):
                return await work()
