"""Open loop: questions leave at random at a rate, whatever becomes of those before.

Who asks only after the last answer never asks while the service is busy, and so never learns what waiting costs.
"""

import asyncio
import selectors
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from time import perf_counter
from typing import NamedTuple

from bench.line import Line

LINES = 16
# A timer is late by as much: the rest is waited for awake.
LATE_S = 0.0003


class Pace(NamedTuple):
    """A question's requests, and how many of them leave in a second."""

    requests: Iterator[bytes]
    per_second: float


def answered(port: int, asked: Mapping[str, Pace], *, repeats: int) -> dict[str, Sequence[float]]:
    """Ask every question so many times; how long each answer took from when its question was due, in seconds.

    Blocks: call it in a thread that has nothing else to do.
    """
    # Other selectors, and uvloop, wait for whole milliseconds.
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        return runner.run(_answered(port, asked, repeats))


async def _answered(port: int, asked: Mapping[str, Pace], repeats: int) -> dict[str, Sequence[float]]:
    lines = [await Line.to("127.0.0.1", port) for _ in range(LINES)]
    times = {name: await _at_a_rate(lines, pace, repeats) for name, pace in asked.items()}
    for line in lines:
        line.close()
    return times


async def _at_a_rate(lines: Sequence[Line], pace: Pace, count: int) -> Sequence[float]:
    free, times, chance = asyncio.LifoQueue[Line](), list[float](), Random(count)
    for line in lines:
        free.put_nowait(line)

    async def one(due: float) -> None:
        line = await free.get()
        await line.ask(next(pace.requests))
        times.append(perf_counter() - due)
        free.put_nowait(line)

    due = perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            due += chance.expovariate(pace.per_second)
            await _until(due)
            group.create_task(one(due))
    return times


async def _until(due: float) -> None:
    await asyncio.sleep(due - perf_counter() - LATE_S)
    while perf_counter() < due:  # noqa: ASYNC110 - nothing else tells the time as exactly
        await asyncio.sleep(0)
