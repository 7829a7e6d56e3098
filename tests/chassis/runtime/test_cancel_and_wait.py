"""A background task ends, even one that missed that it was told to."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from services.chassis.mongodb.outbox import Outbox, Relay
from services.chassis.runtime.background import PeriodicTask
from services.chassis.runtime.ending import cancel_and_wait
from services.chassis.runtime.preparation import StartupTask


class Deaf:
    """Misses the first cancellation, as `asyncio.wait_for` of Python 3.11 may."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()

    async def __call__(self) -> None:
        if self.begun.is_set():
            await asyncio.sleep(3_600)  # until it is cancelled
        self.begun.set()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3_600)  # until it is cancelled


class DeafOutbox(Outbox):
    def __init__(self, deaf: Deaf) -> None:
        self.deaf = deaf

    async def due(self, channel: str) -> list[Any]:
        del channel
        await self.deaf()
        return []


async def nothing(_: object) -> list[str]:
    return []


PARTS: dict[str, Callable[[Deaf], Relay | StartupTask | PeriodicTask]] = {
    "relay": lambda deaf: Relay(DeafOutbox(deaf), nothing, channel="kafka", interval_s=60.0),
    "preparation": lambda deaf: StartupTask([deaf, deaf]),
    "upkeep": lambda deaf: PeriodicTask("sweep", deaf, interval_s=60.0),
}


@pytest.mark.parametrize("part", PARTS)
async def test_a_part_stops_even_if_its_driver_swallows_that_it_is_cancelled(part: str) -> None:
    deaf = Deaf()
    running = PARTS[part](deaf)
    await running.start()
    await deaf.begun.wait()
    stopping = asyncio.create_task(running.stop())
    done, _ = await asyncio.wait([stopping], timeout=10)
    assert done == {stopping}
    await stopping


async def ended_already() -> None:
    """Nothing is left to do."""


async def failing() -> None:
    raise ValueError("a defect")


async def test_what_has_ended_is_left_alone_and_a_failure_is_told() -> None:
    ended, failed = asyncio.create_task(ended_already()), asyncio.create_task(failing())
    await asyncio.wait([ended, failed])
    await cancel_and_wait(ended)
    with pytest.raises(ValueError, match="a defect"):
        await cancel_and_wait(failed)
