"""A process that is killed anywhere loses nothing and counts nothing twice."""

import asyncio
import os
import random
import sys
from pathlib import Path

import pytest

from services.chassis.runtime.settings import REPOSITORY
from services.ledger.domain.sums import without_store
from tests.ledger.fuzzing import Model, a_stream
from tests.ledger.harness import Harness, open_mongo
from tests.ledger.published_rows import sums_of

FAILPOINTS = (
    "ledger-entries-written",
    "ledger-movement-written",
    "ledger-committed",
    "ledger-folded",
    "ledger-published",
)
SEED = 84
SIGKILL = -9


async def run(uri: str, database: str, directory: Path, failpoints: str) -> int:
    environment = {**os.environ, "FAILPOINTS": failpoints}
    files = (str(directory / "committed"), str(directory / "published"))
    command = ("-m", "tests.ledger.recorder_process", uri, database, str(SEED), *files)
    process = await asyncio.create_subprocess_exec(sys.executable, *command, cwd=REPOSITORY, env=environment)
    return await process.wait()


@pytest.mark.long
@pytest.mark.parametrize("failpoint", FAILPOINTS)
async def test_a_kill_there_changes_no_entry_and_no_sum(mongodb_uri: str, tmp_path: Path, failpoint: str) -> None:
    """Breaks: SIGKILL at the first, and then at the second passage of the place.

    Must hold: afterwards entries, sums and published rows, each counted once, are those of all records. Known by the
    model and by an audit.
    """
    async with open_mongo(mongodb_uri) as mongo:
        database = mongo._database.name
        for passage in (1, 2):
            assert await run(mongodb_uri, database, tmp_path, f"{failpoint}:{passage}") == SIGKILL
        assert await run(mongodb_uri, database, tmp_path, "") == 0
        harness = Harness(mongo)
        await harness.fold()
        model = Model(SEED, harness.keys.of_site(SEED))
        model.apply(a_stream(random.Random(SEED), SEED))  # noqa: S311 - repeatable
        for order_id, expected in model.entries().items():
            assert await harness.find(SEED, order_id) == expected
        by_store = model.sums(harness)
        all_stores = without_store(by_store)
        assert await harness.stored_sums(SEED) == (all_stores, by_store)
        rows = list(map(bytes.fromhex, (tmp_path / "published").read_text().splitlines()))
        assert sums_of(rows) == all_stores
        # Only a kill before the movements are deleted repeats rows.
        assert (len(set(rows)) < len(rows)) is (failpoint == "ledger-published")
        assert not (await harness.audit(SEED)).differing
