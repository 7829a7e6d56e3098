import asyncio

from structlog.testing import capture_logs

from services.auth.upkeep import AFTER_A_DEFECT_S, RETRY_S, Upkeep
from services.chassis.errors import Away


async def test_upkeep_tries_again_soon_and_logs_an_outage_once() -> None:
    outcomes: list[Exception | None] = [Away("MongoDB"), Away("MongoDB"), None, Away("MongoDB"), ValueError("defect")]

    async def step() -> None:
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise outcome

    upkeep = Upkeep("keys", step, every_s=30)
    with capture_logs() as lines:
        pauses = [await upkeep.once() for _ in range(5)]
    assert pauses == [RETRY_S, RETRY_S, 30, RETRY_S, AFTER_A_DEFECT_S]
    assert [line["event"] for line in lines] == ["upkeep waits", "upkeep waits", "upkeep failed"]


async def test_upkeep_begins_at_once_and_stops_when_told() -> None:
    done = asyncio.Event()

    async def step() -> None:
        done.set()

    upkeep = Upkeep("signal", step, every_s=3_600)
    await upkeep.start()
    await done.wait()
    await upkeep.stop()
