"""Queries, updates and pipelines: the simulated MongoDB and the real one give the same results."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from bson import Decimal128

_AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
_STOCK: Sequence[Mapping[str, Any]] = (
    {"_id": 1, "sku": "a", "n": 5, "tags": ["x", "y"], "at": _AT, "price": Decimal128(Decimal("1.50"))},
    {"_id": 2, "sku": "b", "n": 2, "tags": [], "lines": [{"sku": "p", "n": 1}, {"sku": "q", "n": 7}]},
    {"_id": 3, "sku": "a", "n": 2, "none": None, "in": {"deep": {"n": 4}}},
    {"_id": 4, "sku": "c", "n": "text", "lines": [{"sku": "p", "n": 9}], "flag": True},
)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, [1, 2, 3, 4]),
        ({"sku": "a"}, [1, 3]),
        ({"sku": "a", "n": 2}, [3]),
        ({"tags": "x"}, [1]),
        ({"tags": ["x", "y"]}, [1]),
        ({"tags": []}, [2]),
        ({"tags.0": "x"}, [1]),
        ({"none": None}, [1, 2, 3, 4]),
        ({"none": {"$exists": True}}, [3]),
        ({"none": {"$exists": False}}, [1, 2, 4]),
        ({"none": {"$ne": None}}, []),
        ({"n": {"$gt": 2}}, [1]),
        ({"n": {"$gte": 2}}, [1, 2, 3]),
        ({"n": {"$lt": "u"}}, [4]),
        ({"n": {"$lte": 2, "$gte": 2}}, [2, 3]),
        ({"at": {"$lte": _AT}}, [1]),
        ({"price": {"$lt": Decimal128(Decimal("1.51"))}}, [1]),
        ({"price": 1.5}, [1]),
        ({"flag": True}, [4]),
        ({"flag": 1}, []),
        ({"n": {"$in": [5, "text"]}}, [1, 4]),
        ({"sku": {"$nin": ["a"]}}, [2, 4]),
        ({"tags": {"$in": ["y", "z"]}}, [1]),
        ({"tags": {"$nin": ["x"]}}, [2, 3, 4]),
        ({"sku": {"$ne": "a"}}, [2, 4]),
        ({"lines.sku": "p"}, [2, 4]),
        ({"lines.sku": "p", "lines.n": 7}, [2]),
        ({"lines": {"$elemMatch": {"sku": "p", "n": 7}}}, []),
        ({"lines": {"$elemMatch": {"sku": "p", "n": {"$gt": 5}}}}, [4]),
        ({"tags": {"$elemMatch": {"$nin": ["x"]}}}, [1]),
        ({"tags": {"$not": {"$elemMatch": {"$nin": ["x"]}}}}, [2, 3, 4]),
        ({"tags": {"$not": {"$elemMatch": {"$nin": ["y", "x"]}}}}, [1, 2, 3, 4]),
        ({"n": {"$not": {"$gt": 2}}}, [2, 3, 4]),
        ({"in.deep.n": 4}, [3]),
        ({"in": {"deep": {"n": 4}}}, [3]),
        ({"$or": [{"sku": "b"}, {"n": 5}]}, [1, 2]),
        ({"$and": [{"sku": "a"}, {"n": {"$gt": 2}}]}, [1]),
    ],
)
async def test_a_query_finds_the_same(database: Any, query: Mapping[str, Any], expected: Sequence[int]) -> None:
    await database["stock"].insert_many(_STOCK, ordered=True)
    found = await database["stock"].find(query).sort("_id", 1).to_list(None)
    assert [each["_id"] for each in found] == expected
    assert await database["stock"].count_documents(query) == len(expected)


@pytest.mark.parametrize(
    ("projection", "expected"),
    [
        ({"_id": 1}, {"_id": 2}),
        ({"sku": 1}, {"_id": 2, "sku": "b"}),
        ({"sku": 1, "_id": 0}, {"sku": "b"}),
        ({"lines.n": 1}, {"_id": 2, "lines": [{"n": 1}, {"n": 7}]}),
        ({"lines": 0, "tags": 0}, {"_id": 2, "sku": "b", "n": 2}),
        ({"lines.sku": 0, "tags": 0, "n": 0}, {"_id": 2, "sku": "b", "lines": [{"n": 1}, {"n": 7}]}),
        ({"absent": 1}, {"_id": 2}),
    ],
)
async def test_a_projection_leaves_the_same(
    database: Any, projection: Mapping[str, Any], expected: Mapping[str, Any]
) -> None:
    await database["stock"].insert_many(_STOCK, ordered=True)
    assert await database["stock"].find_one({"_id": 2}, projection) == expected


async def test_sort_limit_and_hint_work_together(database: Any) -> None:
    """Numbers sort before texts, and a limit applies after the order."""
    stock = database["stock"]
    await stock.insert_many(_STOCK, ordered=True)
    await stock.create_index([("n", 1), ("_id", -1)], name="by-n")
    found = await stock.find({}, {"_id": 1}).sort([("n", 1), ("_id", -1)]).hint("by-n").limit(3).to_list(None)
    assert [each["_id"] for each in found] == [3, 2, 1]
    assert [each["_id"] async for each in stock.find({}, sort=[("n", -1), ("_id", 1)], limit=2)] == [4, 1]
    assert sorted(await stock.distinct("sku")) == ["a", "b", "c"]


_UPDATES: Sequence[tuple[Mapping[str, Any], Any, Mapping[str, Any]]] = (
    ({"_id": 1}, {"$set": {"n": 6}}, {"n": 6}),
    ({"_id": 1}, {"$set": {"new.deep": 1}}, {"new": {"deep": 1}}),
    ({"_id": 1}, {"$inc": {"n": 2, "m": 3}}, {"n": 7, "m": 3}),
    ({"_id": 1}, {"$unset": {"n": ""}}, {"n": None}),
    ({"_id": 1}, {"$push": {"tags": "z"}}, {"tags": ["x", "y", "z"]}),
    ({"_id": 1}, {"$push": {"tags": {"$each": ["z", "x"]}}}, {"tags": ["x", "y", "z", "x"]}),
    ({"_id": 1}, {"$push": {"others": 1}}, {"others": [1]}),
    ({"_id": 1}, {"$addToSet": {"tags": {"$each": ["x", "z"]}}}, {"tags": ["x", "y", "z"]}),
    ({"_id": 1}, {"$push": {"tags": {"$each": ["z"], "$slice": -2}}}, {"tags": ["y", "z"]}),
    ({"_id": 1}, {"$push": {"tags": {"$each": [], "$slice": 1}}}, {"tags": ["x"]}),
    ({"_id": 1}, {"$max": {"n": 4, "new": 3}}, {"n": 5, "new": 3}),
    ({"_id": 1}, {"$max": {"n": 6, "sku": "b"}}, {"n": 6, "sku": "b"}),
    ({"_id": 2}, {"$pull": {"lines": {"sku": "p"}}}, {"lines": [{"sku": "q", "n": 7}]}),
    ({"_id": 2}, {"$pull": {"absent": {"sku": "p"}}}, {"absent": None}),
    ({"_id": 2, "lines.sku": "q"}, {"$set": {"lines.$.n": 8}}, {"lines": [{"sku": "p", "n": 1}, {"sku": "q", "n": 8}]}),
    ({"_id": 2}, {"$set": {"lines.0.n": 5}}, {"lines": [{"sku": "p", "n": 5}, {"sku": "q", "n": 7}]}),
    ({"_id": 3}, {"$setOnInsert": {"n": 9}}, {"n": 2}),
    ({"_id": 3}, [{"$set": {"copy": "$in.deep.n", "m": 1}}], {"copy": 4, "m": 1}),
)


@pytest.mark.parametrize(("query", "update", "expected"), _UPDATES)
async def test_an_update_changes_the_same(
    database: Any, query: Mapping[str, Any], update: Any, expected: Mapping[str, Any]
) -> None:
    await database["stock"].insert_many(_STOCK, ordered=True)
    result = await database["stock"].update_one(query, update)
    changed = await database["stock"].find_one({"_id": query["_id"]})
    assert {name: changed.get(name) for name in expected} == expected
    before = dict(_STOCK[query["_id"] - 1])
    assert (result.matched_count, result.modified_count) == (1, int(changed != before))


async def test_an_array_filter_selects_elements(database: Any) -> None:
    from pymongo import UpdateOne  # noqa: PLC0415

    await database["stock"].insert_many(_STOCK, ordered=True)
    update = UpdateOne({"_id": 2}, {"$set": {"lines.$[one].n": 0}}, array_filters=[{"one.n": {"$gt": 3}}])
    await database["stock"].bulk_write([update], ordered=False)
    assert (await database["stock"].find_one({"_id": 2}))["lines"] == [{"sku": "p", "n": 1}, {"sku": "q", "n": 0}]


@pytest.mark.parametrize(
    ("pipeline", "expected"),
    [
        ([{"$match": {"sku": "a"}}, {"$count": "n"}], [{"n": 2}]),
        ([{"$match": {"sku": "none"}}, {"$count": "n"}], []),
        (
            [{"$unwind": "$lines"}, {"$sort": {"lines.n": -1}}, {"$project": {"_id": 0, "lines.n": 1}}],
            [{"lines": {"n": 9}}, {"lines": {"n": 7}}, {"lines": {"n": 1}}],
        ),
        (
            [{"$unwind": {"path": "$tags", "includeArrayIndex": "at"}}, {"$project": {"_id": 1, "at": 1}}],
            [{"_id": 1, "at": 0}, {"_id": 1, "at": 1}],
        ),
        (
            [
                {"$match": {"_id": {"$lt": 4}}},
                {"$group": {"_id": "$sku", "sum": {"$sum": "$n"}, "first": {"$first": "$_id"}}},
                {"$sort": {"_id": 1}},
            ],
            [{"_id": "a", "sum": 7, "first": 1}, {"_id": "b", "sum": 2, "first": 2}],
        ),
        (
            [{"$facet": {"a": [{"$match": {"sku": "a"}}, {"$count": "n"}], "z": [{"$match": {"sku": "z"}}]}}],
            [{"a": [{"n": 2}], "z": []}],
        ),
    ],
)
async def test_a_pipeline_gives_the_same(
    database: Any, pipeline: Sequence[Mapping[str, Any]], expected: Sequence[Mapping[str, Any]]
) -> None:
    await database["stock"].insert_many(_STOCK, ordered=True)
    cursor = await database["stock"].aggregate(pipeline)
    assert await cursor.to_list(None) == expected
