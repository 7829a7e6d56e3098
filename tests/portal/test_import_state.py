"""The state of an import in MongoDB keeps what the client library's manifest promises: both run the same cases."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from services.portal.adapters.batch_log import BATCHES, MongoBatchLog, PlaceTakenError
from services.portal.adapters.import_state import MongoImportState
from services.portal.domain.file_import import Counts, FaultGroup, batch_key
from tests.portal.mongo_fixtures import an_import
from tests.support.databases import temporary_mongo
from tillstream.manifest import ImportState, Manifest, RecordFault, StoredBatch, Tally
from tillstream.packing import Batch, Unsent
from tillstream.sources.records import LocalFault

# Opens the state of one import, each time as another process would.
Open = Callable[[], ImportState]


@pytest.fixture(params=["sqlite", "motor", "pymongo"])
async def open_state(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Open]:
    if request.param == "sqlite":
        opened: list[Manifest] = []

        def reopen() -> Manifest:
            for manifest in opened:
                manifest.close()
            opened.append(Manifest(tmp_path / "m.sqlite"))
            return opened[-1]

        yield reopen
        return
    async with temporary_mongo(request.getfixturevalue("mongodb_uri"), request.param) as mongo:
        log, run, loop = MongoBatchLog(mongo), an_import(), asyncio.get_running_loop()
        await log.create_indexes()
        yield lambda: MongoImportState(run, log, loop)


async def in_thread(work: Callable[[], Any]) -> Any:
    return await asyncio.to_thread(work)


async def test_an_empty_state(open_state: Open) -> None:
    def work() -> None:
        state = open_state()
        assert (state.next_record, state.tally(), state.unfinished()) == (0, Tally(0, 0, 0, 0), ([], []))
        assert list(state.failed_records()) == []

    await in_thread(work)


async def test_batches_go_from_prepared_to_accepted_to_done(open_state: Open) -> None:
    def work() -> None:
        state = open_state()
        first, second = state.prepare(Batch(0, 3, b"abc")), state.prepare(Batch(3, 2, b"de"))
        assert first.key != second.key
        state = open_state()
        assert state.unfinished() == ([first, second], [])
        assert (state.next_record, state.tally()) == (5, Tally(0, 0, 0, 0))
        accepted = state.accept(first, "j1")
        state = open_state()
        assert state.unfinished() == ([second], [StoredBatch(0, 3, first.key, None, "j1")])
        assert state.tally() == Tally(3, 0, 0, 0)
        faults = [RecordFault(1, "INVALID_VALUE", "/lineItems/0/quantity", "m"), RecordFault(1, "X", "", "n", "p")]
        state.finish(accepted, succeeded=2, faults=faults)
        state = open_state()
        assert state.unfinished() == ([second], [])
        assert state.tally() == Tally(3, 2, 1, 0)
        assert list(state.failed_records()) == [(1, faults)]

    await in_thread(work)


async def test_records_that_are_not_sent_are_counted_and_reported(open_state: Open) -> None:
    def work() -> None:
        state = open_state()
        state.finish(state.prepare(Batch(0, 2, b"a")), succeeded=2, faults=[])
        state.add_unsent(Unsent(2, LocalFault("TOO_LARGE", "", "m")))
        state = open_state()
        assert (state.next_record, state.tally()) == (3, Tally(2, 2, 0, 1))
        assert list(state.failed_records()) == [(2, [RecordFault(2, "TOO_LARGE", "", "m")])]

    await in_thread(work)


async def test_a_key_can_be_replaced(open_state: Open) -> None:
    def work() -> None:
        state = open_state()
        batch = state.prepare(Batch(0, 2, b"a"))
        renewed = state.renew_key(batch)
        assert (renewed.key != batch.key, renewed.body) == (True, b"a")
        assert open_state().unfinished()[0] == [renewed]

    await in_thread(work)


async def test_failed_records_are_in_the_order_of_the_file(open_state: Open) -> None:
    def work() -> None:
        state = open_state()
        batches = [state.prepare(Batch(first, 100, b"a")) for first in range(0, 300, 100)]
        for batch in reversed(batches):
            numbers = (batch.first + 7, batch.first + 3)
            state.finish(batch, succeeded=98, faults=[RecordFault(number, "C", "/id", "m") for number in numbers])
        assert [number for number, _ in state.failed_records()] == [3, 7, 103, 107, 203, 207]

    await in_thread(work)


@pytest.fixture
async def log(mongodb_uri: str) -> AsyncIterator[MongoBatchLog]:
    async with temporary_mongo(mongodb_uri) as mongo:
        yield MongoBatchLog(mongo)


def batch_of(stored: StoredBatch) -> tuple[int, int, str]:
    return stored.first, stored.count, stored.key


async def test_two_workers_pack_a_file_in_one_way(log: MongoBatchLog) -> None:
    """Breaks if a worker that does not know that it has lost its lease sends records in other batches."""
    run = an_import()
    old = await log.prepare(run, 0, 50, b"a")
    assert await log.next_record(run.id) == 50
    await log.prepare(run, 50, 50, b"b")
    with pytest.raises(PlaceTakenError):
        await log.prepare(run, 50, 25, b"c")
    with pytest.raises(PlaceTakenError):
        await log.add_unsent(run, RecordFault(50, "X", "", "m"))
    assert [batch_of(each) for each in (await log.unfinished(run.id))[0]] == [
        batch_of(old),
        (50, 50, batch_key(run.id, 50, 0)),
    ]


async def test_what_is_reported_a_second_time_changes_nothing(log: MongoBatchLog) -> None:
    run = an_import()
    batch = await log.prepare(run, 0, 2, b"a")
    for _ in range(2):
        await log.accept(run, batch, "j")
        await log.finish(run, batch, 1, [RecordFault(0, "C", "/id", "m")])
    await log.finish(run, batch, 0, [RecordFault(0, "D", "/id", "m"), RecordFault(1, "D", "/id", "m")])
    assert await log.counts(run.id) == Counts(sent=2, succeeded=1, failed=1)
    assert await log.jobs(run.id, limit=5) == [("j", 1)]


async def test_faults_are_grouped_by_code_place_and_product(log: MongoBatchLog) -> None:
    run, other = an_import(), an_import()
    for first, product in ((0, "p"), (10, "p"), (20, "q")):
        faults = [
            RecordFault(first + record, "PRODUCT_NOT_FOUND", f"/lineItems/{line}/productId", "m", product)
            for record in (0, 1)
            for line in (0, 1)
        ]
        await log.finish(run, await log.prepare(run, first, 10, b""), 8, faults)
    await log.finish(other, await log.prepare(other, 0, 1, b""), 0, [RecordFault(0, "X", "", "m")])
    place = "/lineItems/*/productId"
    assert await log.fault_groups(run.id, limit=9) == [
        FaultGroup("PRODUCT_NOT_FOUND", place, "p", 4),
        FaultGroup("PRODUCT_NOT_FOUND", place, "q", 2),
    ]
    assert await log.fault_groups(run.id, limit=1) == [FaultGroup("PRODUCT_NOT_FOUND", place, "p", 4)]


async def test_records_are_kept_only_until_they_are_accepted(mongodb_uri: str) -> None:
    async with temporary_mongo(mongodb_uri) as mongo:
        log, run = MongoBatchLog(mongo), an_import()
        batches: Any = mongo.collection(BATCHES)
        await log.create_indexes()
        prepared = [await log.prepare(run, first, 1, b"a") for first in range(3)]
        await log.accept(run, prepared[0], "j")
        await log.finish(run, prepared[1], 1, [])
        assert ["body" in each for each in await batches.find({}).sort("_id", 1).to_list(None)] == [False, False, True]
        assert (await batches.index_information())["expires_1"]["expireAfterSeconds"] == 0
