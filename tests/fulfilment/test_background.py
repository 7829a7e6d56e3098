"""Pending transactions are looked at when their time has come, whoever had them before."""

import asyncio
from dataclasses import dataclass, field

import pytest

from services.chassis.runtime import metrics
from services.chassis.runtime.errors import UnavailableError
from services.fulfilment.background import LEASE_US, Sweeper
from services.fulfilment.domain.transaction import TransactionStatus
from tests.fulfilment.harness import Harness


@dataclass
class Hands:
    """Fulfils what the sweeper finds, or fails."""

    harness: Harness
    had: list[str] = field(default_factory=list)
    fails: dict[str, Exception] = field(default_factory=dict)

    async def __call__(self, transaction_id: str) -> None:
        self.had.append(transaction_id)
        await asyncio.sleep(0)
        if failure := self.fails.get(transaction_id):
            raise failure
        await self.harness.fulfil(transaction_id)

    def sweeper(self, most: int = 2) -> Sweeper:
        return Sweeper(self.harness.transactions, self, batch_size=most, now_us=self.harness.clock)


async def placed(harness: Harness, *names: str, sku: str = "DEMO-INSTANT") -> None:
    for name in names:
        await harness.place((sku, 1), transaction_id=name)


async def test_what_nobody_has_looked_at_in_time_is_looked_at(harness: Harness) -> None:
    """More than one claim takes, as after an hour without Kafka."""
    await placed(harness, "a", "b", "c", "d", "e")
    hands = Hands(harness)
    await hands.sweeper().sweep()
    assert hands.had == []
    harness.clock.advance(seconds=2)
    await hands.sweeper().sweep()
    assert sorted(hands.had) == ["a", "b", "c", "d", "e"]
    assert {(await harness.transactions.find(name)).status for name in hands.had} == {TransactionStatus.COMPLETED}
    await hands.sweeper().sweep()
    assert len(hands.had) == 5


async def test_two_sweepers_share_the_work(harness: Harness) -> None:
    await placed(harness, "a", "b", "c", "d")
    harness.clock.advance(seconds=2)
    hands = Hands(harness)
    await asyncio.gather(hands.sweeper().sweep(), hands.sweeper().sweep())
    assert sorted(hands.had) == ["a", "b", "c", "d"]


async def test_a_claim_that_led_to_nothing_is_worth_nothing_when_its_lease_ends(harness: Harness) -> None:
    """As when the process that had it dies."""
    await placed(harness, "a")
    harness.clock.advance(seconds=2)
    assert await harness.transactions.claim_due(limit=5, lease_us=LEASE_US) == ["a"]
    hands = Hands(harness)
    await hands.sweeper().sweep()
    assert hands.had == []
    harness.clock.advance(seconds=10)
    await hands.sweeper().sweep()
    assert hands.had == ["a"]


async def test_a_defect_in_one_is_told_and_does_not_hold_up_the_others(memory_harness: Harness) -> None:
    await placed(memory_harness, "a", "b", "c")
    memory_harness.clock.advance(seconds=2)
    hands = Hands(memory_harness, fails={"a": ZeroDivisionError()})
    await hands.sweeper().sweep()
    assert [(await memory_harness.transactions.find(name)).is_final for name in "abc"] == [False, True, True]


async def test_it_stops_now_and_then_although_there_is_always_something_due(memory_harness: Harness) -> None:
    """As while a supplier is asked in vain again and again: who has not ended for two minutes is taken for stuck."""
    await placed(memory_harness, "a", sku="DEMO-NEVER")
    looks = 0

    async def in_vain(_: str) -> None:
        nonlocal looks
        looks += 1
        # Longer than the lease: it is due again.
        memory_harness.clock.advance(seconds=11)

    memory_harness.clock.advance(seconds=5)
    sweeper = Sweeper(memory_harness.transactions, in_vain, batch_size=5, now_us=memory_harness.clock)
    async with asyncio.timeout(5):
        await sweeper.sweep()
        await sweeper.sweep()
    assert looks == 2


async def test_without_the_store_it_says_so_after_the_others_had_their_turn(memory_harness: Harness) -> None:
    await placed(memory_harness, "a", "b")
    memory_harness.clock.advance(seconds=2)
    hands = Hands(memory_harness, fails={"a": UnavailableError("MongoDB")})
    with pytest.raises(UnavailableError):
        await hands.sweeper().sweep()
    assert sorted(hands.had) == ["a", "b"]


async def test_it_measures_what_waits_and_since_when(harness: Harness) -> None:
    """The oldest is not the one that is due first."""
    await placed(harness, "a", sku="DEMO-NEVER")
    harness.clock.advance(seconds=2)
    hands = Hands(harness)
    await hands.sweeper().sweep()
    await placed(harness, "b", sku="DEMO-NEVER")
    await harness.transactions.reschedule(await harness.transactions.find("a"), due_us=harness.clock() + 3_600_000_000)
    await hands.sweeper().update_metrics()
    assert measured() == [2, 2]


async def test_it_measures_while_a_supplier_does_not_come_to_an_end(memory_harness: Harness) -> None:
    """Who waits for a supplier is what the measure is for."""
    await placed(memory_harness, "a", sku="DEMO-NEVER")
    memory_harness.clock.advance(seconds=5)
    never = asyncio.Event()
    sweeper = Sweeper(memory_harness.transactions, lambda _: never.wait(), batch_size=5, now_us=memory_harness.clock)
    sweeping = asyncio.create_task(sweeper.sweep())
    await asyncio.sleep(0)
    await sweeper.update_metrics()
    assert measured() == [1, 5]
    sweeping.cancel()


def measured() -> list[float | None]:
    names = ("fulfilment_pending_transactions", "fulfilment_oldest_pending_seconds")
    return [metrics.REGISTRY.get_sample_value(name) for name in names]


async def test_where_nothing_waits_nothing_is_old(harness: Harness) -> None:
    await placed(harness, "a", sku="DEMO-NEVER")
    harness.clock.advance(seconds=2)
    await Hands(harness).sweeper().update_metrics()
    assert measured() == [1, 2]
    harness.clock.advance(days=8)
    await harness.fulfil("a")
    await Hands(harness).sweeper().update_metrics()
    assert measured() == [0, 0]
