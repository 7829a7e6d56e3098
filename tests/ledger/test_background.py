"""When the ledger's periodic tasks run again."""

from collections.abc import Awaitable, Callable

import pytest

from services.chassis.runtime.errors import ContentionError
from services.ledger.adapters import sums
from services.ledger.background import CONFLICT_INTERVAL_S, IDLE_INTERVAL_S, Drain
from services.ledger.domain.movement import Folded
from tests.ledger.harness import Harness
from tests.ledger.records import an_order


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
