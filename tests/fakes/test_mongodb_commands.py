"""Commands: what the simulated MongoDB and the real one acknowledge, refuse and report is the same."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from bson import decode_all
from pymongo import DeleteMany, DeleteOne, InsertOne, ReplaceOne, ReturnDocument, UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure
from pymongo.read_concern import ReadConcern

from tests.fakes.mongodb_fixtures import DURABLE


async def test_a_key_is_inserted_once(database: Any) -> None:
    await database["jobs"].insert_one({"_id": "a", "n": 1})
    with pytest.raises(DuplicateKeyError) as refused:
        await database["jobs"].insert_one({"_id": "a", "n": 2})
    assert refused.value.code == 11000
    assert refused.value.details is not None
    assert refused.value.details["keyPattern"] == {"_id": 1}
    assert await database["jobs"].find_one({"_id": "a"}) == {"_id": "a", "n": 1}


@pytest.mark.parametrize(("is_ordered", "stored"), [(False, ["a", "b", "c", "d"]), (True, ["a", "b", "c"])])
async def test_an_insert_of_many_reports_the_positions_of_duplicates(
    database: Any, *, is_ordered: bool, stored: Sequence[str]
) -> None:
    """Unordered, the others are stored; ordered, those before the first duplicate."""
    await database["jobs"].insert_many([{"_id": "a"}, {"_id": "c"}], ordered=False)
    with pytest.raises(BulkWriteError) as refused:
        await database["jobs"].insert_many([{"_id": name} for name in "bcda"], ordered=is_ordered)
    assert refused.value.details is not None
    errors = [(each["index"], each["code"]) for each in refused.value.details["writeErrors"]]
    assert errors == ([(1, 11000)] if is_ordered else [(1, 11000), (3, 11000)])
    found = await database["jobs"].find({}).sort("_id", 1).to_list(None)
    assert [each["_id"] for each in found] == list(stored)


async def test_a_unique_index_holds_for_inserts_and_updates(database: Any) -> None:
    """Sparse: documents without the field do not collide, those with it do."""
    codes = database["codes"]
    assert await codes.create_index([("slot", 1)], name="slot", unique=True, sparse=True) == "slot"
    await codes.insert_many([{"_id": 1, "slot": "s"}, {"_id": 2}, {"_id": 3}], ordered=False)
    with pytest.raises(DuplicateKeyError) as refused:
        await codes.insert_one({"_id": 4, "slot": "s"})
    assert refused.value.details is not None
    assert refused.value.details["keyPattern"] == {"slot": 1}
    with pytest.raises(DuplicateKeyError):
        await codes.update_one({"_id": 2}, {"$set": {"slot": "s"}})
    await codes.update_one({"_id": 1}, {"$unset": {"slot": ""}})
    await codes.update_one({"_id": 2}, {"$set": {"slot": "s"}})
    await codes.delete_one({"_id": 2})
    await codes.update_one({"_id": 3}, {"$set": {"slot": "s"}})
    await codes.create_index([("slot", 1)], name="slot", unique=True, sparse=True)


async def test_a_unique_index_is_not_built_over_duplicates(database: Any) -> None:
    await database["codes"].insert_many([{"_id": 1, "slot": "s"}, {"_id": 2, "slot": "s"}], ordered=False)
    with pytest.raises(DuplicateKeyError):
        await database["codes"].create_index([("slot", 1)], name="slot", unique=True)
    await database["codes"].insert_one({"_id": 3, "slot": "s"})


@pytest.mark.parametrize(
    ("query", "options", "returned", "stored"),
    [
        ({"_id": 1}, {}, {"_id": 1, "n": 1}, 2),
        ({"_id": 1}, {"return_document": ReturnDocument.AFTER}, {"_id": 1, "n": 2}, 2),
        ({"_id": 1}, {"projection": {"n": 1, "_id": 0}}, {"n": 1}, 2),
        ({"n": {"$gt": 0}}, {"sort": [("n", -1)]}, {"_id": 2, "n": 5}, 6),
        ({"_id": 9}, {}, None, None),
        ({"_id": 9}, {"upsert": True}, None, 1),
        ({"_id": 9}, {"upsert": True, "return_document": ReturnDocument.AFTER}, {"_id": 9, "n": 1}, 1),
    ],
)
async def test_find_and_modify(
    database: Any, query: Mapping[str, Any], options: Mapping[str, Any], returned: Any, stored: int | None
) -> None:
    orders = database["orders"]
    await orders.insert_many([{"_id": 1, "n": 1}, {"_id": 2, "n": 5}], ordered=False)
    assert await orders.find_one_and_update(query, {"$inc": {"n": 1}}, **options) == returned
    key = returned["_id"] if returned and "_id" in returned else query.get("_id", 1)
    assert ((await orders.find_one({"_id": key})) or {"n": None})["n"] == stored


async def test_a_conditional_update_wins_once(database: Any) -> None:
    """Of many writers that expect the same version, one matches."""
    await database["jobs"].insert_one({"_id": "a", "version": 1, "by": None})
    results = await asyncio.gather(
        *(
            database["jobs"].update_one({"_id": "a", "version": 1}, {"$set": {"by": n}, "$inc": {"version": 1}})
            for n in range(8)
        )
    )
    assert sorted(each.matched_count for each in results) == [0] * 7 + [1]
    assert (await database["jobs"].find_one({"_id": "a"}))["version"] == 2


async def test_a_bulk_write_counts_and_goes_on_after_errors(database: Any) -> None:
    jobs = database["jobs"]
    await jobs.create_index([("slot", 1)], name="slot", unique=True, sparse=True)
    await jobs.insert_many([{"_id": 1, "n": 1, "slot": "s"}, {"_id": 2, "n": 1}], ordered=False)
    updates = [UpdateOne({"_id": 1}, {"$set": {"n": 1}}), UpdateOne({"_id": 2}, {"$set": {"n": 2}})]
    result = await jobs.bulk_write([*updates, UpdateOne({"_id": 7}, {"$set": {"n": 2}})], ordered=False)
    assert (result.matched_count, result.modified_count) == (2, 1)
    with pytest.raises(BulkWriteError) as refused:
        await jobs.bulk_write(
            [UpdateOne({"_id": 2}, {"$set": {"slot": "s"}}), UpdateOne({"_id": 1}, {"$set": {"n": 9}})], ordered=False
        )
    assert refused.value.details is not None
    assert [(each["index"], each["code"]) for each in refused.value.details["writeErrors"]] == [(0, 11000)]
    assert refused.value.details["nModified"] == 1
    assert (await jobs.find_one({"_id": 1}))["n"] == 9


async def test_a_bulk_write_mixes_operations(database: Any) -> None:
    entries = database["entries"]
    await entries.insert_many([{"_id": n, "group": n % 2} for n in range(6)], ordered=False)
    await entries.bulk_write(
        [
            ReplaceOne({"_id": 0}, {"_id": 0, "new": True}),
            DeleteMany({"group": 1}),
            DeleteOne({"_id": 2}),
            InsertOne({"_id": 3, "again": True}),
            UpdateOne({"_id": 8}, {"$setOnInsert": {"n": 1}}, upsert=True),
            ReplaceOne({"_id": 9}, {"_id": 9, "n": 2}, upsert=True),
        ],
        ordered=True,
    )
    found = await entries.find({}).sort("_id", 1).to_list(None)
    assert found == [
        {"_id": 0, "new": True},
        {"_id": 3, "again": True},
        {"_id": 4, "group": 0},
        {"_id": 8, "n": 1},
        {"_id": 9, "n": 2},
    ]


async def test_upserts_replacements_and_deletions_count(database: Any) -> None:
    jobs = database["jobs"]
    created = await jobs.update_one({"_id": "a", "n": 1}, {"$set": {"m": 2}}, upsert=True)
    assert (created.matched_count, created.modified_count) == (0, 0)
    assert await jobs.find_one({"_id": "a"}) == {"_id": "a", "n": 1, "m": 2}
    with pytest.raises(DuplicateKeyError):
        await jobs.update_one({"_id": "a", "n": 7}, {"$set": {"m": 2}}, upsert=True)
    replaced = await jobs.replace_one({"_id": "a"}, {"_id": "a", "k": 1})
    assert (replaced.matched_count, replaced.modified_count) == (1, 1)
    await jobs.insert_many([{"_id": "b", "k": 1}, {"_id": "c", "k": 2}], ordered=False)
    many = await jobs.update_many({"k": 1}, {"$set": {"k": 2}})
    assert (many.matched_count, many.modified_count) == (2, 2)
    assert (await jobs.delete_one({"k": 2})).deleted_count == 1
    assert (await jobs.delete_many({"k": 2})).deleted_count == 2
    assert (await jobs.delete_many({"k": 2})).deleted_count == 0


async def test_an_acknowledged_write_is_what_a_majority_has(database: Any) -> None:
    majority = database["jobs"].with_options(read_concern=ReadConcern("majority"))
    await database["jobs"].insert_one({"_id": "a"})
    assert await majority.find_one({"_id": "a"}) == {"_id": "a"}


async def test_a_change_stream_has_the_changes_in_order(database: Any) -> None:
    """From the moment in which it is open; a stream without changes returns after its time."""
    jobs = database["jobs"]
    await jobs.insert_one({"_id": "before"})
    stages = [{"$changeStream": {}}, {"$match": {"operationType": {"$in": ["insert", "update", "delete"]}}}]
    async with await jobs.aggregate_raw_batches(
        [*stages, {"$project": {"documentKey": 1, "operationType": 1}}], maxAwaitTimeMS=200
    ) as stream:
        await jobs.insert_one({"_id": "a", "n": 1})
        await jobs.update_one({"_id": "a"}, {"$set": {"n": 2}})
        await jobs.update_one({"_id": "a"}, {"$set": {"n": 2}})
        await jobs.delete_one({"_id": "a"})
        seen: list[tuple[str, str]] = []
        async with asyncio.timeout(20):
            while len(seen) < 3:
                events = decode_all(await stream.try_next() or b"")
                seen += [(each["operationType"], each["documentKey"]["_id"]) for each in events]
        assert await stream.try_next() is None
        assert stream.alive
    assert seen == [("insert", "a"), ("update", "a"), ("delete", "a")]


async def test_raw_batches_hold_the_documents_in_order(database: Any) -> None:
    jobs = database["jobs"]
    assert [batch async for batch in jobs.find_raw_batches({"_id": "a"})] in ([], [b""])
    await jobs.insert_many([{"_id": "a", "n": 1, "m": 1}, {"_id": "b", "n": 2}, {"_id": "c", "n": 3}], ordered=False)
    found = jobs.find_raw_batches({"_id": {"$in": ["c", "a"]}}, {"m": 0}, sort=[("_id", -1)])
    assert decode_all(b"".join([batch async for batch in found])) == [{"_id": "c", "n": 3}, {"_id": "a", "n": 1}]
    assert not found.cursor_id


async def test_a_transaction_is_stored_as_a_whole(client: Any, database: Any) -> None:
    """It sees its own writes, others see none of them before the commit."""
    await database["jobs"].insert_one({"_id": "a", "n": 1})
    await database["sums"].insert_one({"_id": "s", "n": 1})
    session = client.start_session()
    await session.start_transaction(read_concern=ReadConcern("snapshot"), write_concern=DURABLE)
    await database["jobs"].bulk_write(
        [InsertOne({"_id": "b", "n": 2}), UpdateOne({"_id": "a"}, {"$inc": {"n": 5}})], ordered=True, session=session
    )
    await database["sums"].update_many({}, {"$inc": {"n": 7}}, session=session)
    assert (await database["jobs"].find_one({"_id": "a"}, session=session))["n"] == 6
    assert len(await database["jobs"].find({}, session=session).to_list(None)) == 2
    assert await database["jobs"].find_one({"_id": "b"}) is None
    assert (await database["sums"].find_one({"_id": "s"}))["n"] == 1
    await session.commit_transaction()
    await session.end_session()
    assert (await database["jobs"].find_one({"_id": "b"}))["n"] == 2
    assert (await database["sums"].find_one({"_id": "s"}))["n"] == 8


async def test_a_transaction_that_is_not_committed_leaves_nothing(client: Any, database: Any) -> None:
    await database["jobs"].insert_one({"_id": "a", "n": 1})
    session = client.start_session()
    await session.start_transaction(read_concern=ReadConcern("snapshot"), write_concern=DURABLE)
    await database["jobs"].update_many({"_id": "a"}, {"$set": {"n": 9}}, session=session)
    await session.end_session()
    await database["jobs"].update_one({"_id": "a"}, {"$inc": {"n": 1}})
    assert (await database["jobs"].find_one({"_id": "a"}))["n"] == 2


@pytest.mark.parametrize("is_committed", [True, False])
async def test_of_two_transactions_that_change_the_same_one_fails(
    client: Any, database: Any, *, is_committed: bool
) -> None:
    """The later one, at once, with the label that says that it may be tried again; whether the first has ended or not.

    An open transaction holds what it has changed.
    """
    await database["jobs"].insert_one({"_id": "a", "n": 1})
    first, second = client.start_session(), client.start_session()
    for session in (first, second):
        await session.start_transaction(read_concern=ReadConcern("snapshot"), write_concern=DURABLE)
        assert (await database["jobs"].find_one({"_id": "a"}, session=session))["n"] == 1
    await database["jobs"].update_many({"_id": "a"}, {"$inc": {"n": 1}}, session=first)
    if is_committed:
        await first.commit_transaction()
    with pytest.raises(OperationFailure) as refused:
        await database["jobs"].update_many({"_id": "a"}, {"$inc": {"n": 1}}, session=second)
    assert refused.value.has_error_label("TransientTransactionError")
    assert refused.value.code == 112
    await second.end_session()
    if not is_committed:
        await first.commit_transaction()
    await first.end_session()
    assert (await database["jobs"].find_one({"_id": "a"}))["n"] == 2


async def test_a_write_waits_for_the_transaction_that_has_changed_its_document(client: Any, database: Any) -> None:
    await database["jobs"].insert_one({"_id": "a", "n": 1})
    session = client.start_session()
    await session.start_transaction(read_concern=ReadConcern("snapshot"), write_concern=DURABLE)
    await database["jobs"].update_many({"_id": "a"}, {"$inc": {"n": 1}}, session=session)
    waiting = asyncio.create_task(database["jobs"].update_one({"_id": "a"}, {"$inc": {"n": 10}}))
    await asyncio.wait([waiting], timeout=0.2)
    assert not waiting.done()
    await session.commit_transaction()
    assert (await waiting).modified_count == 1
    await session.end_session()
    assert (await database["jobs"].find_one({"_id": "a"}))["n"] == 12


async def test_the_reads_of_a_snapshot_see_one_state(client: Any, database: Any) -> None:
    await database["jobs"].insert_one({"_id": "a", "n": 1})
    await database["sums"].insert_one({"_id": "s", "n": 1})
    session = client.start_session(snapshot=True)
    assert (await database["jobs"].find_one({"_id": "a"}, session=session))["n"] == 1
    await database["jobs"].update_one({"_id": "a"}, {"$set": {"n": 2}})
    await database["sums"].update_one({"_id": "s"}, {"$set": {"n": 2}})
    assert (await database["sums"].find_one({"_id": "s"}, session=session))["n"] == 1
    assert [each["n"] async for each in database["jobs"].find({}, session=session)] == [1]
    await session.end_session()
    assert (await database["sums"].find_one({"_id": "s"}))["n"] == 2
