import asyncio

from structlog.testing import capture_logs

from services.chassis.runtime.background import RETRY_AFTER_DEFECT_S, RETRY_S, STALLED_AFTER_S, PeriodicTask
from services.chassis.runtime.errors import UnavailableError


class Steps:
    """A step with given outcomes; counts how often it was taken."""

    def __init__(self, *outcomes: Exception | None) -> None:
        self.outcomes = list(outcomes)
        self.taken = 0

    async def __call__(self) -> None:
        self.taken += 1
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if outcome is not None:
            raise outcome


async def test_upkeep_tries_again_soon_and_logs_an_outage_once() -> None:
    step = Steps(
        UnavailableError("MongoDB"),
        UnavailableError("MongoDB"),
        None,
        UnavailableError("MongoDB"),
        ValueError("defect"),
    )
    upkeep = PeriodicTask("keys", step, interval_s=30)
    with capture_logs() as lines:
        pauses = [await upkeep.run_once() for _ in range(5)]
    assert pauses == [RETRY_S, RETRY_S, 30, RETRY_S, RETRY_AFTER_DEFECT_S]
    waiting = "waiting for a dependency"
    assert [line["event"] for line in lines] == [waiting, waiting, "upkeep failed"]


async def test_what_is_done_often_is_tried_again_as_often() -> None:
    upkeep = PeriodicTask("sweep", Steps(UnavailableError("MongoDB")), interval_s=0.05)
    assert await upkeep.run_once() == 0.05


async def test_nothing_is_done_before_it_may_begin() -> None:
    step, allowed = Steps(), [False, True]
    upkeep = PeriodicTask("sweep", step, interval_s=30, start_when=lambda: allowed.pop(0))
    assert [await upkeep.run_once(), step.taken] == [RETRY_S, 0]
    assert [await upkeep.run_once(), step.taken] == [30, 1]


async def test_upkeep_goes_on_after_a_defect_and_is_told_dead_only_once_it_stands_still() -> None:
    time_s = 0.0
    upkeep = PeriodicTask("close", Steps(ValueError("defect")), interval_s=30, clock_s=lambda: time_s)

    def alive_at(instant_s: float) -> bool:
        nonlocal time_s
        time_s = instant_s
        return upkeep.alive

    limit_s = STALLED_AFTER_S + 30
    assert [alive_at(limit_s - 1), alive_at(limit_s)] == [True, False]
    with capture_logs():
        await upkeep.run_once()
    assert alive_at(2 * limit_s - 1)


async def test_upkeep_begins_at_once_and_stops_when_told() -> None:
    done = asyncio.Event()

    async def step() -> None:
        done.set()

    upkeep = PeriodicTask("signal", step, interval_s=3_600)
    await upkeep.start()
    async with asyncio.timeout(5):
        await done.wait()
    await upkeep.stop()
    assert upkeep._running is not None
    assert upkeep._running.cancelled()
