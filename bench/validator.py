"""The real validator, until it has judged so many records (the argument). Prints a line of JSON."""

import asyncio
import json
import sys
import time
from collections.abc import Callable

import uvloop

from services.chassis.runtime.lifecycle import tune_gc, tune_malloc
from services.chassis.runtime.logs import configure
from services.chassis.runtime.settings import load
from services.validator import metrics
from services.validator.app import build
from services.validator.settings import Settings


def judged() -> int:
    """Records judged so far."""
    return int(sum(sample.value for metric in metrics.RECORDS.collect() for sample in metric.samples))


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - looks in from outside
        await asyncio.sleep(0.005)


async def validate(total: int) -> None:
    settings = load(Settings)
    configure("validator", settings.log_level, stream=sys.stderr)
    service = await build(settings)
    for part in service.components:
        await part.start()
    await until(lambda: all(service.health.readiness().values()))
    tune_gc()
    wall, cpu, before = time.perf_counter(), time.process_time(), judged()
    await until(lambda: judged() >= total)
    wall, cpu, done = time.perf_counter() - wall, time.process_time() - cpu, judged() - before
    for part in reversed(service.components):
        await part.stop()
    print(json.dumps({"records": done, "wall_s": wall, "cpu_s": cpu}), flush=True)


if __name__ == "__main__":
    tune_malloc()
    uvloop.run(validate(int(sys.argv[1])))
