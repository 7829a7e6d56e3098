"""One seam over two drivers."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    DuplicateKeyError,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WTimeoutError,
)

from sandbox.mongo import ReplicaSet
from services.chassis.mongodb.client import (
    ChangeStream,
    Mongo,
    create_unique_index,
    duplicate_positions,
    ensure_ttl_index,
    is_transient,
    mongo_errors,
)
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.settings import MongoSettings
from tests.chassis.eventually import until

IMPATIENT_MS = 500


@pytest.fixture(params=["motor", "pymongo"])
async def mongo(request: pytest.FixtureRequest, mongodb_uri: str) -> AsyncIterator[Mongo]:
    settings = MongoSettings(
        mongodb_uri=mongodb_uri, mongodb_database=f"t{uuid4().hex[:12]}", mongo_driver=request.param
    )
    mongo = Mongo.connect(settings)
    yield mongo
    await mongo.client.drop_database(settings.mongodb_database)
    await mongo.stop()


async def test_documents_come_back_by_either_driver(mongo: Mongo) -> None:
    things = mongo.collection("things")
    await things.insert_many([{"_id": number, "even": number % 2 == 0} for number in range(5)])
    assert [thing["_id"] async for thing in things.find({"even": True}).sort("_id", 1)] == [0, 2, 4]
    assert await things.find_one({"_id": 9}) is None
    grouped = await mongo.aggregate(things, [{"$group": {"_id": "$even", "n": {"$sum": 1}}}, {"$sort": {"_id": 1}}])
    assert grouped == [{"_id": False, "n": 2}, {"_id": True, "n": 3}]


async def test_writes_are_durable(mongo: Mongo) -> None:
    assert mongo.collection("things").write_concern.document == {"w": "majority", "j": True}


async def test_a_primary_answers(mongo: Mongo) -> None:
    await mongo.start()
    await mongo.ping()


async def test_changes_are_told_in_batches_from_the_start(mongo: Mongo) -> None:
    things = mongo.collection("things")
    async with mongo.watch(things, [{"$project": {"documentKey": 1}}], max_await_ms=200) as changes:
        await things.insert_many([{"_id": number} for number in range(300)])
        told: list[list[int]] = []
        async with asyncio.timeout(10):
            while sum(map(len, told)) < 300:
                told.append([change["documentKey"]["_id"] for change in await changes.next()])
        assert await changes.next() == []
    assert [number for batch in told for number in batch] == list(range(300))
    assert len(told) < 30, f"{len(told)} batches for 300 changes that were there already"


async def test_a_change_stream_that_has_ended_says_so(mongo: Mongo) -> None:
    things = mongo.collection("things")
    await things.insert_one({"_id": 1})
    async with mongo.watch(things, [{"$match": {"operationType": "insert"}}], max_await_ms=200) as changes:
        await things.drop()
        async with asyncio.timeout(10):
            with pytest.raises(UnavailableError):
                await _last_of(changes)


async def _last_of(changes: ChangeStream) -> None:
    while True:
        assert await changes.next() == []


async def test_which_inserts_met_their_like(mongo: Mongo) -> None:
    things = mongo.collection("things")
    await things.insert_one({"_id": 1})
    with pytest.raises(BulkWriteError) as caught:
        await things.insert_many([{"_id": number} for number in (0, 1, 2, 1)], ordered=False)
    assert duplicate_positions(caught.value) == [1, 3]


@pytest.fixture
async def impatient(mongo: Mongo, mongodb_uri: str) -> AsyncIterator[Mongo]:
    """Another client of the same database, whose operations end early."""
    settings = MongoSettings(
        mongodb_uri=mongodb_uri,
        mongodb_database=mongo.collection("things").database.name,
        mongo_driver="motor" if mongo._is_motor else "pymongo",
        mongodb_timeout_ms=IMPATIENT_MS,
    )
    async with Mongo.connect(settings) as impatient:
        yield impatient


@asynccontextmanager
async def delayed_index(mongo: Mongo, impatient: Mongo) -> AsyncIterator[asyncio.Task[None]]:
    """A build that has taken longer than the client's timeout; it goes on after the block."""
    await mongo.collection("things").insert_one({"_id": 1})
    things = impatient.collection("things")
    async with mongo.transaction() as session:
        # The build waits until the transaction has ended.
        await mongo.collection("things").insert_one({"_id": 2}, session=session)
        creating = asyncio.create_task(create_unique_index(things, [("n", 1)], name="n", sparse=True))

        async def is_delayed() -> bool:
            return bool(creating.done() or await build_microseconds(mongo) > 2_000 * IMPATIENT_MS)

        await until(is_delayed)
        yield creating


async def build_microseconds(mongo: Mongo) -> int:
    """For how long the index of the things has been built; 0 if none is."""
    found = await mongo.client.admin.command("currentOp", **{"command.createIndexes": "things"})
    database = mongo.collection("things").database.name
    of_mine = [each for each in found["inprog"] if each["command"]["$db"] == database]
    return max((int(each["microsecs_running"]) for each in of_mine), default=0)


async def test_an_index_may_take_longer_than_other_operations(mongo: Mongo, impatient: Mongo) -> None:
    """Otherwise the build of a large collection's would be aborted and begin again for ever."""
    async with delayed_index(mongo, impatient) as creating:
        assert not creating.done(), creating.exception()
    await creating
    assert "n" in await mongo.collection("things").index_information()


async def test_a_build_ends_when_it_is_cancelled(mongo: Mongo, impatient: Mongo) -> None:
    """Otherwise Motor's thread would keep the process from ending."""
    async with delayed_index(mongo, impatient) as creating:
        creating.cancel()
        with pytest.raises(asyncio.CancelledError):
            await creating

        async def has_ended() -> bool:
            return await build_microseconds(mongo) == 0

        await until(has_ended)
    assert "n" not in await mongo.collection("things").index_information()


async def test_an_index_waits_for_no_database_that_does_not_answer() -> None:
    settings = MongoSettings(mongodb_uri="mongodb://127.0.0.1:1/?replicaSet=rs0", mongodb_timeout_ms=100)
    async with Mongo.connect(settings) as mongo:
        with pytest.raises(UnavailableError):
            await create_unique_index(mongo.collection("things"), [("n", 1)], name="n")


async def test_a_time_to_live_can_be_changed(mongo: Mongo) -> None:
    for seconds in (100, 100, 200):
        await ensure_ttl_index(mongo, "things", "written", seconds)
    indexes = await mongo.collection("things").index_information()
    assert indexes["written_1"]["expireAfterSeconds"] == 200


@pytest.mark.parametrize("driver", ["motor", "pymongo"])
async def test_a_database_that_does_not_answer_is_away(driver: str) -> None:
    """It takes the connection and says nothing; of a refused one PyMongo would leave the socket open."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"mongodb://127.0.0.1:{silent.getsockname()[1]}/?directConnection=true"
        mongo = Mongo.connect(MongoSettings(mongodb_uri=uri, mongo_driver=driver, mongodb_timeout_ms=200))
        with pytest.raises(UnavailableError, match="MongoDB"):
            await mongo.ping()
        await mongo.close()


@pytest.mark.parametrize(
    "error",
    [
        AutoReconnect("x"),
        NetworkTimeout("x"),
        NotPrimaryError("x"),
        ServerSelectionTimeoutError("x"),
        WTimeoutError("x", 64, {}),
        OperationFailure("x", 14031, {}),
        OperationFailure("x", 11602, {}),
        BulkWriteError({"writeErrors": [{"code": 91, "index": 0}], "writeConcernErrors": []}),
        BulkWriteError({"writeErrors": [], "writeConcernErrors": [{"code": 64}]}),
    ],
    ids=repr,
)
def test_what_may_succeed_later_is_away(error: PyMongoError) -> None:
    with pytest.raises(UnavailableError), mongo_errors():
        raise error


@pytest.mark.parametrize(
    "error",
    [
        DuplicateKeyError("x", 11000, {}),
        OperationFailure("x", 9, {}),
        BulkWriteError({"writeErrors": [{"code": 11000, "index": 0}], "writeConcernErrors": []}),
        BulkWriteError({"writeErrors": [{"code": 2, "index": 0}], "writeConcernErrors": []}),
    ],
    ids=repr,
)
def test_what_would_fail_again_stays_what_it_is(error: PyMongoError) -> None:
    assert not is_transient(error)
    with pytest.raises(type(error)), mongo_errors():
        raise error


def test_other_faults_of_a_bulk_are_not_taken_for_duplicates() -> None:
    error = BulkWriteError({"writeErrors": [{"code": 11000, "index": 0}, {"code": 2, "index": 1}]})
    with pytest.raises(BulkWriteError):
        duplicate_positions(error)


async def test_it_is_ready_while_there_is_a_primary(tmp_path: Path) -> None:
    with ReplicaSet(tmp_path) as servers:
        settings = [MongoSettings(mongodb_uri=servers.uri, mongo_driver=driver) for driver in ("motor", "pymongo")]
        both = [Mongo.connect(each) for each in settings]
        assert not any(mongo.ready for mongo in both)
        for mongo in both:
            await mongo.ping()
        assert all(mongo.ready for mongo in both)
        await asyncio.to_thread(servers.kill)
        await until(lambda: not any(mongo.ready for mongo in both))
        await asyncio.to_thread(servers.start)
        for mongo in both:
            await mongo.ping()
            assert mongo.ready
            await mongo.stop()


@pytest.mark.parametrize("driver", ["motor", "pymongo"])
@pytest.mark.parametrize(
    ("end", "told"),
    [
        ("a:99999/", "ValueError"),
        ("a/?tls=true&tlsCAFile=/nowhere/ca.pem", "No such file or directory: /nowhere/ca.pem"),
        ("a/?replicaSet=x&directConnection=true&loadBalanced=true", "ConfigurationError"),
    ],
    ids=["port", "file", "options"],
)
async def test_an_address_that_the_driver_cannot_use_is_told_as_any_setting(
    capsys: pytest.CaptureFixture[str], driver: str, end: str, told: str
) -> None:
    settings = MongoSettings(mongodb_uri=f"mongodb://user:CANARY@{end}", mongo_driver=driver)
    with pytest.raises(SystemExit) as ended:
        Mongo.connect(settings)
    assert ended.value.code == 2
    printed = capsys.readouterr().err
    assert printed.startswith("Invalid settings:\n  MONGODB_URI: ")
    assert told in printed
    assert "CANARY" not in printed
