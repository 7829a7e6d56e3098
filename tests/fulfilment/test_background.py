"""Due transactions are fulfilled, also those that another process had claimed."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from services.chassis.runtime import metrics
from services.chassis.runtime.errors import UnavailableError
from services.fulfilment.background import LEASE_US, Sweeper
from services.fulfilment.domain.transaction import TransactionStatus
from tests.fulfilment.harness import Harness


@dataclass
class RecordingFulfilment:
    """Records the transactions that the sweeper passes on, and fulfils them or fails."""

    harness: Harness
    received: list[str] = field(default_factory=list)
    failures: dict[str, Exception] = field(default_factory=dict)

    async def __call__(self, transaction_id: str) -> None:
        self.received.append(transaction_id)
        await asyncio.sleep(0)
        if failure := self.failures.get(transaction_id):
            raise failure
        await self.harness.fulfil(transaction_id)

    def sweeper(self, batch_size: int = 2) -> Sweeper:
        return Sweeper(self.harness.transactions, self, batch_size=batch_size, now_us=self.harness.clock)


async def place_orders(harness: Harness, *names: str, sku: str = "DEMO-INSTANT") -> None:
    for name in names:
        await harness.place((sku, 1), transaction_id=name)


async def test_what_nobody_has_looked_at_in_time_is_looked_at(harness: Harness) -> None:
    """More than one claim returns, as after an hour without Kafka."""
    await place_orders(harness, "a", "b", "c", "d", "e")
    fulfilment = RecordingFulfilment(harness)
    await fulfilment.sweeper().sweep()
    assert fulfilment.received == []
    harness.clock.advance(seconds=2)
    await fulfilment.sweeper().sweep()
    assert sorted(fulfilment.received) == ["a", "b", "c", "d", "e"]
    assert {(await harness.transactions.find(name)).status for name in fulfilment.received} == {
        TransactionStatus.COMPLETED
    }
    await fulfilment.sweeper().sweep()
    assert len(fulfilment.received) == 5


async def test_two_sweepers_share_the_work(harness: Harness) -> None:
    await place_orders(harness, "a", "b", "c", "d")
    harness.clock.advance(seconds=2)
    fulfilment = RecordingFulfilment(harness)
    await asyncio.gather(fulfilment.sweeper().sweep(), fulfilment.sweeper().sweep())
    assert sorted(fulfilment.received) == ["a", "b", "c", "d"]


async def test_a_claim_that_led_to_nothing_is_worth_nothing_when_its_lease_ends(harness: Harness) -> None:
    """As when the process that claimed it dies."""
    await place_orders(harness, "a")
    harness.clock.advance(seconds=2)
    assert await harness.transactions.claim_due(limit=5, lease_us=LEASE_US) == ["a"]
    fulfilment = RecordingFulfilment(harness)
    await fulfilment.sweeper().sweep()
    assert fulfilment.received == []
    harness.clock.advance(seconds=10)
    await fulfilment.sweeper().sweep()
    assert fulfilment.received == ["a"]


async def test_a_defect_in_one_is_told_and_does_not_hold_up_the_others(memory_harness: Harness) -> None:
    await place_orders(memory_harness, "a", "b", "c")
    memory_harness.clock.advance(seconds=2)
    fulfilment = RecordingFulfilment(memory_harness, failures={"a": ZeroDivisionError()})
    await fulfilment.sweeper().sweep()
    assert [(await memory_harness.transactions.find(name)).is_final for name in "abc"] == [False, True, True]


async def test_it_stops_now_and_then_although_there_is_always_something_due(memory_harness: Harness) -> None:
    """As while a supplier is always 'not yet': a sweep of two minutes would fail the liveness check."""
    await place_orders(memory_harness, "a", sku="DEMO-NEVER")
    calls = 0

    async def fulfil_nothing(_: str) -> None:
        nonlocal calls
        calls += 1
        # Longer than the lease: it is due again.
        memory_harness.clock.advance(seconds=11)

    memory_harness.clock.advance(seconds=5)
    sweeper = Sweeper(memory_harness.transactions, fulfil_nothing, batch_size=5, now_us=memory_harness.clock)
    async with asyncio.timeout(5):
        await sweeper.sweep()
        await sweeper.sweep()
    assert calls == 2


async def test_without_the_store_it_says_so_after_the_others_had_their_turn(memory_harness: Harness) -> None:
    await place_orders(memory_harness, "a", "b")
    memory_harness.clock.advance(seconds=2)
    fulfilment = RecordingFulfilment(memory_harness, failures={"a": UnavailableError("MongoDB")})
    with pytest.raises(UnavailableError):
        await fulfilment.sweeper().sweep()
    assert sorted(fulfilment.received) == ["a", "b"]


async def test_it_measures_what_waits_and_since_when(harness: Harness) -> None:
    """The oldest transaction is not the one that is due first."""
    await place_orders(harness, "a", sku="DEMO-NEVER")
    harness.clock.advance(seconds=2)
    fulfilment = RecordingFulfilment(harness)
    await fulfilment.sweeper().sweep()
    await place_orders(harness, "b", sku="DEMO-NEVER")
    await harness.transactions.reschedule(await harness.transactions.find("a"), due_us=harness.clock() + 3_600_000_000)
    await fulfilment.sweeper().update_metrics()
    assert read_gauges() == [2, 2]


async def test_it_measures_while_a_supplier_does_not_come_to_an_end(memory_harness: Harness) -> None:
    """Waiting for suppliers is what the gauges must show."""
    await place_orders(memory_harness, "a", sku="DEMO-NEVER")
    memory_harness.clock.advance(seconds=5)
    never = asyncio.Event()
    sweeper = Sweeper(memory_harness.transactions, lambda _: never.wait(), batch_size=5, now_us=memory_harness.clock)
    sweeping = asyncio.create_task(sweeper.sweep())
    await asyncio.sleep(0)
    await sweeper.update_metrics()
    assert read_gauges() == [1, 5]
    sweeping.cancel()


def read_gauges() -> list[float | None]:
    names = ("fulfilment_pending_transactions", "fulfilment_oldest_pending_seconds")
    return [metrics.REGISTRY.get_sample_value(name) for name in names]


async def test_where_nothing_waits_nothing_is_old(harness: Harness) -> None:
    await place_orders(harness, "a", sku="DEMO-NEVER")
    harness.clock.advance(seconds=2)
    await RecordingFulfilment(harness).sweeper().update_metrics()
    assert read_gauges() == [1, 2]
    harness.clock.advance(days=8)
    await harness.fulfil("a")
    await RecordingFulfilment(harness).sweeper().update_metrics()
    assert read_gauges() == [0, 0]


@pytest.mark.parametrize("back", [timedelta(hours=3), timedelta(days=1)], ids=["three hours", "a day"])
@pytest.mark.parametrize("when", ["placed", "claimed", "retried"])
async def test_what_was_due_under_a_clock_that_was_ahead_is_due_when_the_clock_is_right(
    harness: Harness, back: timedelta, when: str
) -> None:
    """F20. Breaks: the clock was ahead while a due time was set. Must hold: the transaction is not left until then."""
    await place_orders(harness, "a", sku="DEMO-NEVER")
    harness.clock.advance(seconds=2)
    if when != "placed":
        assert await harness.transactions.claim_due(limit=5, lease_us=LEASE_US) == ["a"]
    if when == "retried":
        await harness.fulfil("a")
    harness.clock.now_us -= back // timedelta(microseconds=1)
    assert await harness.transactions.claim_due(limit=5, lease_us=LEASE_US) == ["a"]
    assert await harness.transactions.claim_due(limit=5, lease_us=LEASE_US) == []


async def test_a_sweep_ends_although_the_clock_goes_back(memory_harness: Harness) -> None:
    await place_orders(memory_harness, "a", sku="DEMO-NEVER")

    async def fulfil_nothing(_: str) -> None:
        memory_harness.clock.advance(hours=-3)

    memory_harness.clock.advance(seconds=5)
    sweeper = Sweeper(memory_harness.transactions, fulfil_nothing, batch_size=5, now_us=memory_harness.clock)
    async with asyncio.timeout(5):
        await sweeper.sweep()
