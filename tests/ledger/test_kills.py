"""A process that is killed anywhere loses nothing and counts nothing twice."""

import asyncio
import os
import random
import sys
from pathlib import Path

import pytest

from services.chassis.runtime.settings import REPOSITORY
from tests.ledger.fuzzing import Model, a_stream
from tests.ledger.harness import Harness, open_mongo

FAILPOINTS = ("ledger-entries-written", "ledger-movement-written", "ledger-committed", "ledger-folded")
SEED = 84
SIGKILL = -9


async def run(uri: str, database: str, committed: Path, failpoints: str) -> int:
    environment = {**os.environ, "FAILPOINTS": failpoints}
    command = ("-m", "tests.ledger.recorder_process", uri, database, str(SEED), str(committed))
    process = await asyncio.create_subprocess_exec(sys.executable, *command, cwd=REPOSITORY, env=environment)
    return await process.wait()


@pytest.mark.long
@pytest.mark.parametrize("failpoint", FAILPOINTS)
async def test_a_kill_there_changes_no_entry_and_no_sum(mongodb_uri: str, tmp_path: Path, failpoint: str) -> None:
    """Breaks: SIGKILL at the first, and then at the second passage of the place.

    Must hold: afterwards entries and sums are those of all records. Known by the model and by an audit.
    """
    async with open_mongo(mongodb_uri) as mongo:
        database = mongo._database.name
        for passage in (1, 2):
            assert await run(mongodb_uri, database, tmp_path / "committed", f"{failpoint}:{passage}") == SIGKILL
        assert await run(mongodb_uri, database, tmp_path / "committed", "") == 0
        harness = Harness(mongo)
        await harness.fold()
        model = Model(SEED, harness.keys.of_site(SEED))
        model.apply(a_stream(random.Random(SEED), SEED))  # noqa: S311 - repeatable
        for order_id, expected in model.entries().items():
            assert await harness.find(SEED, order_id) == expected
        assert (await harness.stored_sums(SEED))[1] == model.sums(harness) == await harness.published(SEED)
        assert not (await harness.audit(SEED)).differing
