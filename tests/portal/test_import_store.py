"""Imports change hands: by leases, by what their owner wishes, and by what workers report too late."""

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from services.chassis.mongodb.client import Mongo
from services.portal.adapters.import_store import IMPORTS, MongoImportStore
from services.portal.domain.file_import import Counts, FaultGroup, FileImport, State, Wish
from tests.portal.mongo_fixtures import NOON_US, OTHER_SITE, SECOND_US, SITE, Clock, an_import, clock, each_mongo

__all__ = ["clock", "each_mongo"]

LEASE_US = 15 * SECOND_US


@pytest.fixture
async def store(each_mongo: Mongo, clock: Clock) -> MongoImportStore:
    store = MongoImportStore(each_mongo, now_us=clock)
    await store.create_indexes()
    return store


async def claimed(store: MongoImportStore, owner: str = "a", *, most: int = 4) -> FileImport | None:
    return await store.claim(owner, lease_us=LEASE_US, max_per_site=most)


async def taken(store: MongoImportStore, owner: str = "a") -> FileImport:
    run = await claimed(store, owner)
    assert run is not None
    return run


async def found(store: MongoImportStore, run: FileImport) -> FileImport:
    stored = await store.find(run.site, run.id)
    assert stored is not None
    return stored


async def test_the_oldest_one_is_taken_first_and_by_one_worker(store: MongoImportStore) -> None:
    runs = [an_import(created_us=NOON_US + number) for number in (2, 1, 3)]
    for run in runs:
        assert await store.add(run)
    assert [(await taken(store)).id for _ in runs] == [runs[1].id, runs[0].id, runs[2].id]
    assert await claimed(store) is None


async def test_an_import_is_stored_once(store: MongoImportStore) -> None:
    run = an_import()
    assert await store.add(run)
    assert not await store.add(run)
    assert await found(store, run) == run
    assert await store.of_site(SITE, limit=10) == [run]


async def test_that_of_another_site_is_not_there(store: MongoImportStore) -> None:
    run = an_import()
    await store.add(run)
    assert await store.find(OTHER_SITE, run.id) is None
    assert await store.of_site(OTHER_SITE, limit=10) == []
    for wish in Wish:
        assert await store.wish(OTHER_SITE, run.id, wish) is None
    assert await found(store, run) == run


async def test_a_dead_worker_is_replaced_and_what_it_reports_later_has_no_effect(
    store: MongoImportStore, clock: Clock
) -> None:
    """Breaks if a process that was frozen overwrites the progress of the one that goes on."""
    await store.add(an_import())
    first = await taken(store, "a")
    clock.now_us += LEASE_US
    assert await claimed(store, "b") is None, "the lease holds to its end"
    clock.now_us += 1
    second = await taken(store, "b")
    assert (second.id, second.epoch) == (first.id, first.epoch + 1)
    assert await store.heartbeat(replace(first, counts=Counts(sent=9)), lease_us=LEASE_US) is None
    await store.settle(replace(first, state=State.DONE))
    stored = await found(store, second)
    assert (stored.state, stored.owner, stored.counts) == (State.RUNNING, "b", Counts())


async def test_a_worker_that_has_lost_and_got_it_again_is_not_taken_for_the_old_one(
    store: MongoImportStore, clock: Clock
) -> None:
    await store.add(an_import())
    first = await taken(store, "a")
    clock.now_us += LEASE_US + 1
    second = await taken(store, "a")
    assert await store.heartbeat(first, lease_us=LEASE_US) is None
    assert await store.heartbeat(second, lease_us=LEASE_US) is not None


async def test_a_lease_of_a_wrong_clock_does_not_last(store: MongoImportStore, clock: Clock) -> None:
    await store.add(an_import())
    clock.now_us += 3_600 * SECOND_US
    await taken(store)
    clock.now_us = NOON_US
    assert (await taken(store, "b")).owner == "b"


async def test_heartbeats_keep_the_lease_and_store_the_progress(store: MongoImportStore, clock: Clock) -> None:
    await store.add(an_import())
    run = await taken(store)
    for number in range(1, 4):
        clock.now_us += LEASE_US // 2
        progress = replace(run, total=10, counts=Counts(sent=number), records_per_s=1.5, left_s=7.0, problem="$waits")
        stored = await store.heartbeat(progress, lease_us=LEASE_US)
        assert stored is not None
        assert (stored.total, stored.counts.sent, stored.records_per_s, stored.left_s) == (10, number, 1.5, 7.0)
        assert stored.problem == "$waits"
    assert await claimed(store, "b") is None


async def test_so_many_of_a_site_run_and_no_more(store: MongoImportStore) -> None:
    """Breaks if a site with many files keeps those of others waiting, or takes the whole pool."""
    for number in range(3):
        await store.add(an_import(created_us=NOON_US + number))
    await store.add(an_import(site=OTHER_SITE, created_us=NOON_US + 9))
    sites = [run.site for _ in range(4) if (run := await claimed(store, most=2)) is not None]
    assert sites == [SITE, SITE, OTHER_SITE]
    assert (await store.count_running(SITE), await store.count_running(OTHER_SITE)) == (2, 1)


@pytest.mark.parametrize(
    ("wishes", "state", "wish"),
    [
        ([Wish.PAUSE], State.PAUSED, Wish.PAUSE),
        ([Wish.CANCEL], State.CANCELLED, Wish.CANCEL),
        ([Wish.PAUSE, Wish.RUN], State.WAITING, Wish.RUN),
        ([Wish.PAUSE, Wish.CANCEL], State.CANCELLED, Wish.CANCEL),
        ([Wish.CANCEL, Wish.RUN], State.CANCELLED, Wish.CANCEL),
        ([Wish.RUN], State.WAITING, Wish.RUN),
        ([Wish.PAUSE, Wish.PAUSE], State.PAUSED, Wish.PAUSE),
    ],
)
async def test_what_nobody_works_on_changes_at_once(
    store: MongoImportStore, wishes: Sequence[Wish], state: State, wish: Wish
) -> None:
    run = an_import()
    await store.add(run)
    for each in wishes:
        await store.wish(SITE, run.id, each)
    stored = await found(store, run)
    assert (stored.state, stored.wish) == (state, wish)
    assert (stored.ended_us is not None) == state.is_final
    assert (await claimed(store) is not None) == (state is State.WAITING)


@pytest.mark.parametrize(
    ("wishes", "state", "wish", "settled"),
    [
        ([Wish.PAUSE], State.RUNNING, Wish.PAUSE, State.PAUSED),
        ([Wish.CANCEL], State.RUNNING, Wish.CANCEL, State.CANCELLED),
        ([Wish.PAUSE, Wish.RUN], State.RUNNING, Wish.RUN, State.WAITING),
        ([Wish.PAUSE, Wish.CANCEL], State.RUNNING, Wish.CANCEL, State.CANCELLED),
        ([Wish.CANCEL, Wish.RUN], State.RUNNING, Wish.CANCEL, State.CANCELLED),
    ],
)
async def test_its_worker_is_told_and_what_was_wished_last_holds_when_it_has_stopped(
    store: MongoImportStore, wishes: Sequence[Wish], state: State, wish: Wish, settled: State
) -> None:
    await store.add(an_import())
    run = await taken(store)
    for each in wishes:
        await store.wish(SITE, run.id, each)
    told = await store.heartbeat(run, lease_us=LEASE_US)
    assert told is not None
    assert (told.state, told.wish) == (state, wish)
    await store.settle(replace(run, state=State.WAITING, counts=Counts(sent=5)))
    stored = await found(store, run)
    assert (stored.state, stored.owner, stored.counts.sent) == (settled, "", 5)
    assert (stored.ended_us is not None) == settled.is_final


async def test_an_import_that_has_ended_stays_so(store: MongoImportStore) -> None:
    await store.add(an_import())
    run = await taken(store)
    await store.wish(SITE, run.id, Wish.PAUSE)
    groups = [FaultGroup("INVALID_VALUE", "/$set", "p", 3)]
    await store.settle(replace(run, state=State.DONE, total=3, groups=groups, problem="$problem"))
    stored = await found(store, run)
    assert (stored.state, stored.groups, stored.problem, stored.ended_us) == (State.DONE, groups, "$problem", NOON_US)
    for wish in Wish:
        await store.wish(SITE, run.id, wish)
    assert (await found(store, run)).state is State.DONE
    assert await claimed(store) is None


async def test_a_failed_one_can_go_on_with_another_upload_of_the_file(store: MongoImportStore) -> None:
    await store.add(an_import())
    run = await taken(store)
    await store.settle(replace(run, state=State.FAILED, problem="expired", counts=Counts(sent=5)))
    await store.reopen(replace(run, upload="another"))
    again = await taken(store)
    assert (again.upload, again.counts.sent, again.problem, again.ended_us) == ("another", 5, None, None)
    await store.reopen(replace(run, upload="third"))
    assert (await found(store, run)).upload == "another", "one that runs is left alone"


async def test_one_that_waits_for_services_is_not_taken_before_its_time(store: MongoImportStore, clock: Clock) -> None:
    await store.add(an_import())
    run = await taken(store)
    await store.settle(replace(run, state=State.WAITING, not_before_us=clock.now_us + SECOND_US, problem="away"))
    assert await claimed(store) is None
    clock.now_us += SECOND_US
    assert (await taken(store)).id == run.id


async def test_imports_expire(store: MongoImportStore, each_mongo: Mongo) -> None:
    run = an_import()
    await store.add(run)
    indexes = await each_mongo.collection(IMPORTS).index_information()
    assert indexes["expires_1"]["expireAfterSeconds"] == 0
    (document,) = await each_mongo.collection(IMPORTS).find({}).to_list(None)
    assert document["expires"].timestamp() * SECOND_US == run.expires_us
