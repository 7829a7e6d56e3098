"""Comparisons of schemas: one at a time, and within their share of CPU time."""

import asyncio
import threading

import pytest

from services.chassis.avro.compatibility import InvalidSchemaError
from services.schema_registry.comparisons import CPU_SHARE, MAX_WAITING, Comparisons
from services.schema_registry.subjects import RegistryError


async def test_after_each_comparison_there_is_a_pause_that_keeps_the_share() -> None:
    now, cpu = 0.0, 0.0
    pauses: list[float] = []

    async def sleep(pause_s: float) -> None:
        nonlocal now
        pauses.append(pause_s)
        now += pause_s

    def compare() -> str:
        nonlocal now, cpu
        now += 0.05  # twice its CPU time: others use the core, too
        cpu += 0.025
        return "compared"

    comparisons = Comparisons(clock=lambda: now, cpu_clock=lambda: cpu, sleep=sleep)
    assert [await comparisons.run(compare) for _ in range(3)] == ["compared"] * 3
    assert pauses == pytest.approx([0, 0.025 * (1 / CPU_SHARE - 1), 0.025 * (1 / CPU_SHARE - 1)])


async def test_a_comparison_that_fails_costs_as_much() -> None:
    pauses: list[float] = []
    cpu = iter([0.0, 1.0, 1.0, 1.0])

    async def sleep(pause_s: float) -> None:
        pauses.append(pause_s)

    def fail() -> None:
        raise InvalidSchemaError("no schema")

    comparisons = Comparisons(clock=lambda: 0.0, cpu_clock=lambda: next(cpu), sleep=sleep)
    for _ in range(2):
        with pytest.raises(InvalidSchemaError):
            await comparisons.run(fail)
    assert pauses == pytest.approx([0, 1 / CPU_SHARE - 1])


async def test_more_than_may_wait_are_refused_and_none_is_forgotten() -> None:
    comparisons, gate = Comparisons(), threading.Event()
    waiting = [asyncio.create_task(comparisons.run(gate.wait)) for _ in range(MAX_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(RegistryError) as refused:
        await comparisons.run(gate.wait)
    assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "1"})
    gate.set()
    assert all(await asyncio.gather(*waiting))
    assert await comparisons.run(gate.wait)
