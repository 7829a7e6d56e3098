"""Whatever comes, a job is what its first outcomes say, in memory and on a real MongoDB.

`FUZZ_SEEDS=5000 pytest tests/status/test_fuzz.py` plays longer, `FUZZ_FIRST=1234 FUZZ_SEEDS=1` one seed again.
"""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.settings import MongoSettings
from services.status.adapters.job_documents import Update
from services.status.adapters.job_store import MongoJobStore
from tests.status.fakes import MemoryJobStore
from tests.status.fuzzing import JobStore, Trial, play

FIRST = int(os.environ.get("FUZZ_FIRST", "0"))
SEEDS = int(os.environ.get("FUZZ_SEEDS", "500"))
# Reads are cheaper in memory.
MEMORY_SEEDS = int(os.environ.get("FUZZ_SEEDS", "150"))
# Run concurrently in one database: each has its own job.
AT_ONCE = 25
MEMORY_LOOKS, MONGODB_LOOKS = 100, 2
PATIENCE_S = 60


def batches(seeds: int) -> list[range]:
    end = FIRST + seeds
    return [range(first, min(first + 50, end)) for first in range(FIRST, end, 50)]


@pytest.fixture(scope="module")
async def mongo(mongodb_uri: str) -> AsyncIterator[Mongo]:
    settings = MongoSettings(mongodb_uri=mongodb_uri, mongodb_database=f"fuzz{uuid4().hex[:12]}")
    made = Mongo.connect(settings, retry_writes=False)
    await MongoJobStore(made, now=lambda: datetime.now(UTC)).create_indexes(retention_days=30)
    yield made
    await made.client.drop_database(settings.mongodb_database)
    await made.close()


class UnguardedJobs(MongoJobStore):
    """A planted bug: writes do not check their conditions."""

    async def _insert(self, collection: Any, documents: list[Any]) -> Sequence[int]:
        for document in documents:
            await collection.replace_one({"_id": document["_id"]}, document, upsert=True)
        return ()

    async def _update(self, collection: Any, updates: list[Update]) -> bool:
        for update in updates:
            anything = [{"stored.state": {"$exists": True}}] if update.stored else None
            await collection.update_one({"_id": update.filter["_id"]}, update.change, array_filters=anything)
        return False


def in_memory(seed: int, *, guarded: bool = True, commits_first: bool = False) -> Trial:
    chance = random.Random(seed)  # noqa: S311 - it has to be repeatable
    jobs = MemoryJobStore(turns=lambda: chance.randrange(3), guarded=guarded)
    return Trial(jobs, reads=MEMORY_LOOKS, commits_first=commits_first)


def on_mongodb(mongo: Mongo, *, guarded: bool = True, commits_first: bool = False) -> Trial:
    kept: type[MongoJobStore] = MongoJobStore if guarded else UnguardedJobs
    jobs: JobStore = kept(mongo, now=lambda: datetime.now(UTC))
    return Trial(jobs, reads=MONGODB_LOOKS, commits_first=commits_first)


async def failures(seeds: Sequence[int], trial: Callable[[int], Trial]) -> dict[int, str]:
    """The broken guarantees by seed."""
    places, found = asyncio.Semaphore(AT_ONCE), {}

    async def one(seed: int) -> None:
        async with places:
            try:
                await asyncio.wait_for(play(seed, trial(seed)), PATIENCE_S)
            except Exception as error:  # noqa: BLE001 - whatever it is belongs to the seed
                found[seed] = f"{type(error).__name__}: {error}"[:300]

    await asyncio.gather(*map(one, seeds))
    return found


@pytest.mark.parametrize("seeds", batches(MEMORY_SEEDS), ids=lambda seeds: f"from-{seeds.start}")
async def test_whatever_comes_the_first_outcome_wins_and_every_event_is_shown_once(seeds: range) -> None:
    """I1, I4, I9 for the job model."""
    assert await failures(seeds, in_memory) == {}


@pytest.mark.parametrize("seeds", batches(SEEDS), ids=lambda seeds: f"from-{seeds.start}")
async def test_on_mongodb_too(mongo: Mongo, seeds: range) -> None:
    """The same with real concurrency between writes."""
    assert await failures(seeds, lambda _: on_mongodb(mongo)) == {}


# The planted bugs, and the guarantee whose message must report each.
BUGS: dict[str, tuple[dict[str, bool], str]] = {
    "guards-removed": ({"guarded": False}, "what was shown has changed"),
    "offsets-committed-first": ({"commits_first": True}, "the job has not ended"),
}


@pytest.mark.parametrize("bug", BUGS)
async def test_a_planted_bug_is_found_by_name(bug: str) -> None:
    planted, promise = BUGS[bug]
    _found(await failures(range(40), lambda seed: in_memory(seed, **planted)), promise)


@pytest.mark.parametrize("bug", BUGS)
async def test_a_planted_bug_is_found_by_name_on_mongodb(mongo: Mongo, bug: str) -> None:
    planted, promise = BUGS[bug]
    _found(await failures(range(40), lambda _: on_mongodb(mongo, **planted)), promise)


def _found(broken: dict[int, str], promise: str) -> None:
    assert len(broken) > 5
    assert [seed for seed, failure in broken.items() if promise in failure]
