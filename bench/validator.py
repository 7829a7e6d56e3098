"""Runs the real validator until it has judged N records (the argument). Prints one line of JSON."""

import asyncio
import json
import sys
import time
from collections.abc import Callable

import uvloop

from services.chassis.runtime.lifecycle import tune_gc
from services.chassis.runtime.logs import configure
from services.chassis.runtime.malloc import tune_malloc
from services.chassis.runtime.settings import load
from services.validator import metrics
from services.validator.app import build
from services.validator.settings import Settings


def judged_records() -> int:
    """Return the number of judged records."""
    return int(sum(sample.value for metric in metrics.RECORDS.collect() for sample in metric.samples))


async def wait_until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - the service has no event to wait for
        await asyncio.sleep(0.005)


async def validate(total: int) -> None:
    settings = load(Settings)
    configure("validator", settings.log_level, stream=sys.stderr)
    service = await build(settings)
    for component in service.components:
        await component.start()
    await wait_until(lambda: all(service.health.readiness().values()))
    tune_gc()
    wall, cpu, before = time.perf_counter(), time.process_time(), judged_records()
    await wait_until(lambda: judged_records() >= total)
    wall, cpu, done = time.perf_counter() - wall, time.process_time() - cpu, judged_records() - before
    for component in reversed(service.components):
        await component.stop()
    print(json.dumps({"records": done, "wall_s": wall, "cpu_s": cpu}), flush=True)


if __name__ == "__main__":
    tune_malloc()
    uvloop.run(validate(int(sys.argv[1])))
