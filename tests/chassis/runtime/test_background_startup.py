import asyncio

from structlog.testing import capture_logs

from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.preparation import StartupTask


async def finished(preparation: StartupTask) -> None:
    assert preparation._running is not None
    async with asyncio.timeout(5):
        await preparation._running


async def test_steps_are_taken_in_order_until_all_have_succeeded_once() -> None:
    """An outage and a defect delay it; neither ends it."""
    journal: list[str] = []
    troubles: list[Exception | None] = [UnavailableError("MongoDB"), ValueError("defect"), None]

    async def first() -> None:
        journal.append("first")

    async def second() -> None:
        journal.append("second")
        trouble = troubles.pop(0)
        if trouble is not None:
            raise trouble

    preparation = StartupTask([first, second], retry_s=0)
    with capture_logs() as lines:
        await preparation.start()
        await finished(preparation)
    assert preparation.is_done
    assert journal == ["first", "second"] * 3
    assert [line["event"] for line in lines] == ["waiting for a dependency", "preparation failed"]
    await preparation.stop()


async def test_it_gives_up_when_told() -> None:
    began = asyncio.Event()

    async def hang() -> None:
        began.set()
        await asyncio.Event().wait()

    preparation = StartupTask([hang])
    await preparation.start()
    await began.wait()
    await preparation.stop()
    assert not preparation.is_done
    assert preparation._running is not None
    assert preparation._running.done()
