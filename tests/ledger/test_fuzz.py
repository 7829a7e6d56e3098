"""Whatever comes, entries and sums are what all records say, on a real MongoDB.

`FUZZ_SEEDS=5000 pytest tests/ledger/test_fuzz.py` plays longer, `FUZZ_FIRST=1234 FUZZ_SEEDS=1` one seed again.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from services.chassis.mongodb.client import Mongo
from services.ledger.adapters import ledger as ledger_module
from services.ledger.adapters import sums as sums_module
from services.ledger.adapters.collections import MOVEMENTS, SUMS
from services.ledger.adapters.ledger import MongoLedger, MongoTransaction
from services.ledger.adapters.sums import MongoSums
from services.ledger.domain import entries as entries_module
from services.ledger.domain.entries import Group
from services.ledger.domain.movement import Folded, Movement
from services.ledger.flows import record_sales
from services.ledger.wire import documents
from tests.ledger.fuzzing import Crashes, Deadline, Trial, play
from tests.ledger.harness import Harness, open_mongo

FIRST = int(os.environ.get("FUZZ_FIRST", "0"))
SEEDS = int(os.environ.get("FUZZ_SEEDS", "500"))
BATCH = 100
# Run concurrently in one database: each has its own site.
AT_ONCE = 20
# With some of the planted bugs a consumer never gets on.
TIMEOUT_S, PLANTED_TIMEOUT_S = 100, 80


def batches(seeds: int) -> list[range]:
    end = FIRST + seeds
    return [range(first, min(first + BATCH, end)) for first in range(FIRST, end, BATCH)]


@pytest.fixture
def crashes(monkeypatch: pytest.MonkeyPatch) -> Crashes:
    """All failpoints of the store raise instead of killing the process."""
    crashes = Crashes()
    for module, names in (
        (ledger_module, ("_ENTRIES_WRITTEN", "_MOVEMENT_WRITTEN", "_COMMITTED")),
        (sums_module, ("_FOLDED",)),
    ):
        for name in names:
            monkeypatch.setattr(module, name, crashes)
    return crashes


async def failures(
    seeds: Sequence[int], trial: Callable[[Deadline], Trial], *, timeout_s: float = TIMEOUT_S, until: str | None = None
) -> dict[int, str]:
    """The broken guarantees by seed; once `until` is one of them, the other seeds end."""
    deadline = Deadline(asyncio.get_running_loop().time() + timeout_s)
    places, found = asyncio.Semaphore(AT_ONCE), {}

    async def one(seed: int) -> None:
        async with places:
            try:
                await play(seed, trial(deadline))
            except Exception as error:  # noqa: BLE001 - whatever it is belongs to the seed
                found[seed] = f"{type(error).__name__}: {error}"[:300]
                if until is not None and until in found[seed]:
                    deadline.at = 0

    await asyncio.gather(*map(one, seeds))
    return found


@pytest.mark.parametrize("seeds", batches(SEEDS), ids=lambda seeds: f"from-{seeds.start}")
async def test_whatever_comes_entries_and_sums_are_what_all_records_say(
    fast_mongo: Mongo, crashes: Crashes, seeds: range
) -> None:
    assert await failures(seeds, lambda deadline: Trial(Harness(fast_mongo), crashes, deadline)) == {}


class MovementLater(MongoLedger):
    """A planted bug: the changes of the sums are stored after the entries' transaction, not in it."""

    def transaction(self) -> Any:
        return _LaterTransaction(super().transaction(), self._mongo)


class _LaterTransaction:
    def __init__(self, context: Any, mongo: Mongo) -> None:
        self._context = context
        self._mongo = mongo
        self._movements: list[Movement] = []

    async def __aenter__(self) -> Any:
        transaction = await self._context.__aenter__()

        async def keep(movement: Movement) -> None:
            self._movements.append(movement)

        transaction.add_movement = keep
        return transaction

    async def __aexit__(self, *error: object) -> Any:
        result = await self._context.__aexit__(*error)
        if error[0] is None:
            for movement in self._movements:
                await self._mongo.collection(MOVEMENTS).insert_one(documents.movement_document(movement))
        return result


class NoTransaction(MongoLedger):
    """A planted bug: the operations are not in a transaction."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[MongoTransaction]:
        yield MongoTransaction(self._mongo, None, now=self._now, user_fingerprint=self._user_fingerprint)
        ledger_module._COMMITTED()


class FoldWithoutTransaction(MongoSums):
    """A planted bug: sums are changed first, and movements marked afterwards."""

    async def fold(self) -> Folded:
        movements = self._mongo.collection(MOVEMENTS)
        found = await movements.find({"folded": False}).limit(5).to_list(None)
        changes = sums_module._changes_of(map(documents.movement_from, found))
        stored = await self._mongo.collection(SUMS).find({"_id": {"$in": changes.ids()}}).to_list(None)
        for each in changes.apply_to(stored):
            await self._mongo.collection(SUMS).replace_one({"_id": each["_id"]}, each, upsert=True)
        sums_module._FOLDED()
        await movements.update_many({"_id": {"$in": [each["_id"] for each in found]}}, {"$set": {"folded": True}})
        return Folded(len(found), has_more=len(found) == 5)


def latest_by_arrival(group: Group, record: Any, key: bytes) -> Group:
    """A planted bug: the last record that comes replaces the others."""
    return entries_module.apply_record(
        Group(
            group.key,
            {channel: each for channel, each in group.orders.items() if getattr(record, "id", None) is None},
            group.returns,
        ),
        record,
        key,
    )


def counted_again(_before: Any, after: Any, zone: Any) -> Any:
    """A planted bug: a new version is added to what the version before has added."""
    return {} if after is None else entries_module.group_sums(after.group, zone)


async def nobody_is_erased(*_: Any) -> dict[tuple[int, str], str]:
    """A planted bug: records of erased users are stored as they come."""
    return {}


Plant = Callable[[pytest.MonkeyPatch], dict[str, Any]]


def patch(target: object, name: str, value: object) -> Plant:
    def plant(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        monkeypatch.setattr(target, name, value)
        return {}

    return plant


# The planted bugs, and the guarantee whose message must report each.
BUGS: Mapping[str, tuple[Plant, str]] = {
    "movement-outside-the-transaction": (lambda _: {"ledger": MovementLater}, "sums are not those of the"),
    "no-transaction": (lambda _: {"ledger": NoTransaction}, "sums are not those of the"),
    "fold-outside-a-transaction": (lambda _: {"sums": FoldWithoutTransaction}, "sums are not those of the"),
    "offsets-committed-first": (lambda _: {"commits_first": True}, "an entry is not what its records say"),
    "latest-by-arrival": (
        patch(record_sales, "apply_record", latest_by_arrival),
        "an entry is not what its records say",
    ),
    "versions-counted-again": (patch(record_sales, "_difference", counted_again), "sums are not those of the"),
    "erased-users-forgotten": (
        patch(record_sales, "_load_pseudonyms", nobody_is_erased),
        "an entry is not what its records say",
    ),
}


@pytest.mark.parametrize("bug", BUGS)
async def test_a_planted_bug_is_found_by_name(
    mongodb_uri: str, crashes: Crashes, monkeypatch: pytest.MonkeyPatch, bug: str
) -> None:
    plant, promise = BUGS[bug]
    options = plant(monkeypatch)
    commits_first = options.pop("commits_first", False)
    async with open_mongo(mongodb_uri, "pymongo") as mongo:
        broken = await failures(
            range(20),
            lambda deadline: Trial(Harness(mongo, **options), crashes, deadline, commits_first),
            timeout_s=PLANTED_TIMEOUT_S,
            until=promise,
        )
    assert len(broken) > 1
    assert [seed for seed, failure in broken.items() if promise in failure]
