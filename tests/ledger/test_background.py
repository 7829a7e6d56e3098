"""The ledger's periodic tasks: when they run again, and what they report."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from services.chassis.runtime.errors import ContentionError
from services.chassis.runtime.metrics import REGISTRY
from services.ledger.adapters import sums
from services.ledger.adapters.collections import SUMS
from services.ledger.adapters.turns import Turns
from services.ledger.adapters.zones import SiteZones
from services.ledger.background import CONFLICT_INTERVAL_S, IDLE_INTERVAL_S, Auditor, Drain, update_movement_gauges
from services.ledger.domain.movement import Folded
from services.values.sites import Site
from tests.ledger.harness import Harness
from tests.ledger.records import SITE, an_order


async def nothing() -> int:
    return 0


async def one() -> int:
    return 1


async def conflict() -> int:
    raise ContentionError("the ledger")


@pytest.mark.parametrize(
    ("step", "pause_s"), [(nothing, 7), (one, 0), (conflict, CONFLICT_INTERVAL_S)], ids=["nothing", "more", "conflict"]
)
async def test_a_drain_pauses_only_if_nothing_more_waits(step: Callable[[], Awaitable[int]], pause_s: float) -> None:
    assert await Drain("drain", step, start_when=lambda: True, interval_s=7).run_once() == pause_s


async def test_a_drain_does_not_run_before_it_may() -> None:
    assert await Drain("drain", conflict, start_when=lambda: False).run_once() == IDLE_INTERVAL_S


# Each movement has two cells: one counted, one published.
@pytest.mark.parametrize(("bound", "value"), [("MAX_MOVEMENTS_PER_FOLD", 2), ("MAX_CELLS_PER_FOLD", 4)])
async def test_a_fold_reports_that_more_movements_wait_than_fit(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, bound: str, value: int
) -> None:
    """Breaks: a backlog is folded with a pause after each full transaction."""
    for number in range(3):
        await harness.record(an_order(f"{bound} {number}"))
    monkeypatch.setattr(sums, bound, value)
    assert [await harness.sums.fold() for _ in range(3)] == [
        Folded(2, has_more=True),
        Folded(1, has_more=False),
        Folded(0, has_more=False),
    ]


async def test_an_audit_reports_each_sum_that_differs(harness: Harness) -> None:
    async def take_turn() -> bool:
        return True

    auditor = Auditor(harness.audit_deps, take_turn)
    await harness.record(an_order("audited"))
    await harness.fold()
    collection, month = harness.mongo.collection(SUMS), {"site": SITE, "family": "all"}
    for difference, differing in ((0, 0), (10_000, 1), (-10_000, 0)):
        await collection.update_one(month, {"$inc": {"days.14.2": difference}})
        with capture_logs() as lines:
            await auditor.run()
        assert REGISTRY.get_sample_value("ledger_differing_sums") == differing
        assert [(line["event"], line["site"], line["sums"]) for line in lines] == [
            ("sums differ from the entries", SITE, 1)
        ] * differing


async def test_one_replica_audits_in_an_interval(harness: Harness) -> None:
    turns = [Turns(harness.mongo, now=lambda: harness.now) for _ in range(3)]

    async def taken() -> int:
        return sum(await asyncio.gather(*(each.take("audit", interval_s=60) for each in turns)))

    assert await taken() == 1
    harness.now += timedelta(seconds=59)
    assert await taken() == 0
    harness.now += timedelta(seconds=1)
    assert await taken() == 1


async def test_a_replica_without_the_turn_does_not_audit(harness: Harness) -> None:
    async def no_turn() -> bool:
        return False

    before = REGISTRY.get_sample_value("ledger_audited_timestamp_seconds")
    harness.now += timedelta(days=1)
    await Auditor(harness.audit_deps, no_turn).run()
    assert REGISTRY.get_sample_value("ledger_audited_timestamp_seconds") == before


async def test_the_gauges_show_how_many_movements_wait_and_for_how_long(harness: Harness) -> None:
    await harness.fold()
    await harness.record(an_order("waiting"))
    at = harness.now_us()
    await update_movement_gauges(harness.sums, lambda: at + 3_000_000)
    assert waiting("fold") == (1, 3)
    await harness.fold()
    await update_movement_gauges(harness.sums, lambda: at)
    assert waiting("fold") == (0, 0)
    count, oldest_s = waiting("publish")
    assert count >= 1
    assert oldest_s == 0


def waiting(step: str) -> tuple[float, ...]:
    names = ("ledger_movements_pending", "ledger_oldest_movement_seconds")
    return tuple(REGISTRY.get_sample_value(name, {"step": step}) or 0.0 for name in names)


class FakeSites:
    """One site."""

    def get(self, site: int) -> Site | None:
        if site != 608:
            return None
        return Site(
            site=608, name="n", app_id=1, root_source="r", datacenter="d", api_keys=(), time_zone="America/New_York"
        )


def test_the_books_of_a_site_are_kept_in_its_zone() -> None:
    zones = SiteZones(FakeSites())  # type: ignore[arg-type]
    assert [zones.of_site(site) for site in (608, 609)] == ["America/New_York", "UTC"]
    assert SiteZones(None).of_site(608) == "UTC"
