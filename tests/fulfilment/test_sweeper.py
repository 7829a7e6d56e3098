"""Pending transactions are looked at when their time has come, whoever had them before."""

import asyncio
from dataclasses import dataclass, field

import pytest

from services.chassis.runtime import metrics
from services.chassis.runtime.errors import UnavailableError
from services.fulfilment.background import LEASE_US, Sweeper
from services.fulfilment.domain.transaction import Status
from tests.fulfilment.shop import Shop


@dataclass
class Hands:
    """Fulfils what the sweeper finds, or fails."""

    shop: Shop
    had: list[str] = field(default_factory=list)
    fails: dict[str, Exception] = field(default_factory=dict)

    async def __call__(self, transaction_id: str) -> None:
        self.had.append(transaction_id)
        await asyncio.sleep(0)
        if failure := self.fails.get(transaction_id):
            raise failure
        await self.shop.fulfil(transaction_id)

    def sweeper(self, most: int = 2) -> Sweeper:
        return Sweeper(self.shop.transactions, self, most=most, now_us=self.shop.clock)


async def placed(shop: Shop, *names: str, sku: str = "DEMO-INSTANT") -> None:
    for name in names:
        await shop.place((sku, 1), transaction_id=name)


async def test_what_nobody_has_looked_at_in_time_is_looked_at(shop: Shop) -> None:
    """More than one claim takes, as after an hour without Kafka."""
    await placed(shop, "a", "b", "c", "d", "e")
    hands = Hands(shop)
    await hands.sweeper().sweep()
    assert hands.had == []
    shop.clock.pass_(seconds=2)
    await hands.sweeper().sweep()
    assert sorted(hands.had) == ["a", "b", "c", "d", "e"]
    assert {(await shop.transactions.find(name)).status for name in hands.had} == {Status.COMPLETED}
    await hands.sweeper().sweep()
    assert len(hands.had) == 5


async def test_two_sweepers_share_the_work(shop: Shop) -> None:
    await placed(shop, "a", "b", "c", "d")
    shop.clock.pass_(seconds=2)
    hands = Hands(shop)
    await asyncio.gather(hands.sweeper().sweep(), hands.sweeper().sweep())
    assert sorted(hands.had) == ["a", "b", "c", "d"]


async def test_a_claim_that_led_to_nothing_is_worth_nothing_when_its_lease_ends(shop: Shop) -> None:
    """As when the process that had it dies."""
    await placed(shop, "a")
    shop.clock.pass_(seconds=2)
    assert await shop.transactions.claim_due(most=5, lease_us=LEASE_US) == ["a"]
    hands = Hands(shop)
    await hands.sweeper().sweep()
    assert hands.had == []
    shop.clock.pass_(seconds=10)
    await hands.sweeper().sweep()
    assert hands.had == ["a"]


async def test_a_defect_in_one_is_told_and_does_not_hold_up_the_others(memory_shop: Shop) -> None:
    await placed(memory_shop, "a", "b", "c")
    memory_shop.clock.pass_(seconds=2)
    hands = Hands(memory_shop, fails={"a": ZeroDivisionError()})
    await hands.sweeper().sweep()
    assert [(await memory_shop.transactions.find(name)).is_final for name in "abc"] == [False, True, True]


async def test_it_stops_now_and_then_although_there_is_always_something_due(memory_shop: Shop) -> None:
    """As while a supplier is asked in vain again and again: who has not ended for two minutes is taken for stuck."""
    await placed(memory_shop, "a", sku="DEMO-NEVER")
    looks = 0

    async def in_vain(_: str) -> None:
        nonlocal looks
        looks += 1
        # Longer than the lease: it is due again.
        memory_shop.clock.pass_(seconds=11)

    memory_shop.clock.pass_(seconds=5)
    sweeper = Sweeper(memory_shop.transactions, in_vain, most=5, now_us=memory_shop.clock)
    async with asyncio.timeout(5):
        await sweeper.sweep()
        await sweeper.sweep()
    assert looks == 2


async def test_without_the_store_it_says_so_after_the_others_had_their_turn(memory_shop: Shop) -> None:
    await placed(memory_shop, "a", "b")
    memory_shop.clock.pass_(seconds=2)
    hands = Hands(memory_shop, fails={"a": UnavailableError("MongoDB")})
    with pytest.raises(UnavailableError):
        await hands.sweeper().sweep()
    assert sorted(hands.had) == ["a", "b"]


async def test_it_measures_what_waits_and_since_when(shop: Shop) -> None:
    """The oldest is not the one that is due first."""
    await placed(shop, "a", sku="DEMO-NEVER")
    shop.clock.pass_(seconds=2)
    hands = Hands(shop)
    await hands.sweeper().sweep()
    await placed(shop, "b", sku="DEMO-NEVER")
    await shop.transactions.postpone(await shop.transactions.find("a"), due_us=shop.clock() + 3_600_000_000)
    await hands.sweeper().measure()
    assert measured() == [2, 2]


async def test_it_measures_while_a_supplier_does_not_come_to_an_end(memory_shop: Shop) -> None:
    """Who waits for a supplier is what the measure is for."""
    await placed(memory_shop, "a", sku="DEMO-NEVER")
    memory_shop.clock.pass_(seconds=5)
    never = asyncio.Event()
    sweeper = Sweeper(memory_shop.transactions, lambda _: never.wait(), most=5, now_us=memory_shop.clock)
    sweeping = asyncio.create_task(sweeper.sweep())
    await asyncio.sleep(0)
    await sweeper.measure()
    assert measured() == [1, 5]
    sweeping.cancel()


def measured() -> list[float | None]:
    names = ("fulfilment_pending_transactions", "fulfilment_oldest_pending_seconds")
    return [metrics.REGISTRY.get_sample_value(name) for name in names]


async def test_where_nothing_waits_nothing_is_old(shop: Shop) -> None:
    await placed(shop, "a", sku="DEMO-NEVER")
    shop.clock.pass_(seconds=2)
    await Hands(shop).sweeper().measure()
    assert measured() == [1, 2]
    shop.clock.pass_(days=8)
    await shop.fulfil("a")
    await Hands(shop).sweeper().measure()
    assert measured() == [0, 0]
