"""`python -m bench.ledger`: recording, pages, reports and exports of the ledger, on a MongoDB of its own.

The program under test has one core, MongoDB and the load the other. `--variants` compares where the sums are kept up
to date (docs/adr/0012), `python -m bench.ledger_lag` measures the lag of a whole installation.
"""

import os
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from bench.environment import OTHER_CORE, TESTED_CORE
from bench.ledger_reading import measure_exports, measure_queries, replica
from bench.ledger_recording import measure_recording
from bench.ledger_sales import YEAR, fill
from bench.ledger_variants import measure_variants
from sandbox.mongo import ReplicaSet
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.lifecycle import tune_gc
from services.chassis.runtime.malloc import tune_malloc
from services.chassis.runtime.settings import MongoSettings
from services.ledger.adapters.collections import ENTRIES, create_indexes
from tests.ledger.harness import Harness

DATABASE = "bench_ledger"
WEEK = 7
MAX_EXPORTED = 1_000_000
INDEXING_TIMEOUT_MS = 600_000


def main(
    entries: Annotated[list[int], typer.Option(help="Sizes at which to read, ascending.")] = [100_000],  # noqa: B006
    rounds: Annotated[int, typer.Option(help="Measured runs of the recording; 0 for none.")] = 7,
    records: Annotated[int, typer.Option(help="Orders recorded in a run.")] = 20_000,
    repeats: Annotated[int, typer.Option(help="Repetitions of each query; 0 to fill only.")] = 200,
    *,
    driver: Annotated[list[str], typer.Option(help="Drivers to measure.")] = ["motor", "pymongo"],  # noqa: B006
    directory: Annotated[Path | None, typer.Option(help="Keep MongoDB's data there, and go on with it.")] = None,
    variants: Annotated[bool, typer.Option(help="Compare where the sums are kept up to date, only.")] = False,
) -> None:
    """Measure and print."""
    tune_malloc()
    os.sched_setaffinity(0, {OTHER_CORE})
    with tempfile.TemporaryDirectory() as temporary, ReplicaSet(directory or Path(temporary)) as mongo:
        os.sched_setaffinity(0, {TESTED_CORE})
        tune_gc()  # as every service does when it has started
        if variants:
            uvloop.run(measure_variants(mongo.uri, count=16_000))
            return
        uvloop.run(measure_all_recording(mongo.uri, driver, rounds=rounds, records=records))
        uvloop.run(measure_reading(mongo.uri, driver, entries, repeats=repeats))


async def measure_all_recording(uri: str, drivers: list[str], *, rounds: int, records: int) -> None:
    """Record orders of a few days, and of all days of a year, which changes the most sums."""
    for driver in drivers if rounds else ():
        for days in (WEEK, YEAR):
            await measure_recording(uri, driver, count=records, rounds=rounds, days=days)


async def measure_reading(uri: str, drivers: list[str], sizes: list[int], *, repeats: int) -> None:
    """Fill one database step by step, and read with each driver at each size."""
    settings = MongoSettings(
        mongodb_uri=uri, mongodb_database=DATABASE, mongo_driver="pymongo", mongodb_timeout_ms=INDEXING_TIMEOUT_MS
    )
    async with Mongo.connect(settings) as mongo:
        await create_indexes(mongo)
        for size in sizes:
            os.sched_setaffinity(0, {TESTED_CORE})  # nothing else needs it now
            began, present = time.perf_counter(), await mongo.collection(ENTRIES).estimated_document_count()
            await fill(Harness(mongo), size, present=present)
            os.sched_setaffinity(0, {OTHER_CORE})
            print(f"{size:,} entries, {size - present:,} added in {time.perf_counter() - began:.0f} s:", flush=True)
            for driver in drivers if repeats else ():
                await measure_replica(uri, driver, rows=size, repeats=repeats)


async def measure_replica(uri: str, driver: str, *, rows: int, repeats: int) -> None:
    """Measure one replica of the API."""
    print(f" {driver}:", flush=True)
    async with replica(uri, driver, DATABASE) as (port, process):
        await measure_queries(port, process, repeats=repeats)
        if rows <= MAX_EXPORTED:
            await measure_exports(port, process, rows=rows)


if __name__ == "__main__":
    typer.run(main)
