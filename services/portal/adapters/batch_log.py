"""What became of the batches of an import, in MongoDB: any process goes on where another one has ended.

It is a log. An entry is stored under the number of its first record, and begins where the one before it ends. Of two
workers that append at once, one finds the place taken, and stops: an import is never packed in two ways.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

from pymongo.errors import DuplicateKeyError
from pymongo.read_concern import ReadConcern

from services.chassis.mongodb.client import Mongo, ensure_ttl_index, fetch_all, mongo_errors
from services.portal.adapters.documents import EXPIRES, date_of
from services.portal.domain.file_import import Counts, FaultGroup, FileImport, batch_key
from tillstream.manifest import RecordFault, StoredBatch, without_positions

BATCHES = "portal_import_batches"
PREPARED, ACCEPTED, DONE = 0, 1, 2
_LAST = 9_999_999_999


class PlaceTakenError(Exception):
    """Another worker goes on with the same import."""


class MongoBatchLog:
    """The log of all imports."""

    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo
        self._batches = mongo.collection(BATCHES).with_options(read_concern=ReadConcern("majority"))

    async def create_indexes(self) -> None:
        """Create the indexes."""
        await ensure_ttl_index(self._mongo, BATCHES, EXPIRES, 0)

    async def next_record(self, import_id: str) -> int:
        """Return the number of the first record that is in no entry."""
        last = await fetch_all(self._batches.find(_all(import_id), {"first": 1, "count": 1}).sort("_id", -1).limit(1))
        return int(last[0]["first"]) + int(last[0]["count"]) if last else 0

    async def prepare(self, run: FileImport, first: int, count: int, body: bytes) -> StoredBatch:
        """Append a batch that is to be sent; raises `PlaceTakenError`."""
        key = batch_key(run.id, first, 0)
        fields = {"first": first, "count": count, "key": key, "state": PREPARED, "body": body, "attempt": 0}
        await self._append(run, first, fields)
        return StoredBatch(first, count, key, body, None)

    async def add_unsent(self, run: FileImport, fault: RecordFault) -> None:
        """Append a record that cannot be sent; raises `PlaceTakenError`."""
        fields = {"first": fault.record, "count": 1, "state": DONE, "unsent": 1, **_outcome([fault])}
        await self._append(run, fault.record, fields)

    async def renew_key(self, run: FileImport, batch: StoredBatch) -> StoredBatch:
        """Give a batch that is not accepted another key."""
        with mongo_errors():
            await self._batches.update_one(
                {"_id": _id(run.id, batch.first), "key": batch.key, "state": PREPARED}, {"$inc": {"attempt": 1}}
            )
            found = await self._batches.find_one({"_id": _id(run.id, batch.first)})
            key = batch_key(run.id, batch.first, int(found["attempt"]))
            await self._batches.update_one({"_id": found["_id"], "attempt": found["attempt"]}, {"$set": {"key": key}})
        return StoredBatch(batch.first, batch.count, key, batch.body, None)

    async def accept(self, run: FileImport, batch: StoredBatch, job: str) -> StoredBatch:
        """Store the job that a batch became."""
        change = {"$set": {"state": ACCEPTED, "job": job}, "$unset": {"body": ""}}
        with mongo_errors():
            await self._batches.update_one({"_id": _id(run.id, batch.first), "state": PREPARED}, change)
        return StoredBatch(batch.first, batch.count, batch.key, None, job)

    async def finish(self, run: FileImport, batch: StoredBatch, succeeded: int, faults: Iterable[RecordFault]) -> None:
        """Store the outcome of a batch."""
        failed = batch.count - succeeded
        fields = {"state": DONE, "succeeded": succeeded, "failed": failed, **_outcome(list(faults))}
        with mongo_errors():
            await self._batches.update_one(
                {"_id": _id(run.id, batch.first), "state": {"$lt": DONE}}, {"$set": fields, "$unset": {"body": ""}}
            )

    async def unfinished(self, import_id: str) -> tuple[list[StoredBatch], list[StoredBatch]]:
        """Return the batches that may not have been sent, and those whose jobs have not ended."""
        found: tuple[list[StoredBatch], list[StoredBatch]] = ([], [])
        cursor = self._batches.find({**_all(import_id), "state": {"$lt": DONE}}).sort("_id", 1)
        for each in await fetch_all(cursor):
            body = each.get("body")
            found[each["state"]].append(
                StoredBatch(
                    each["first"],
                    each["count"],
                    each["key"],
                    None if body is None else bytes(body),
                    each.get("job"),
                )
            )
        return found

    async def counts(self, import_id: str) -> Counts:
        """Count the records."""
        is_sent = {"$and": [{"$gte": ["$state", ACCEPTED]}, {"$not": [{"$ifNull": ["$unsent", False]}]}]}
        sums = {name: {"$sum": {"$ifNull": [f"${name}", 0]}} for name in ("succeeded", "failed", "unsent")}
        found = await self._mongo.aggregate(
            self._batches,
            [
                {"$match": _all(import_id)},
                {"$group": {"_id": None, "sent": {"$sum": {"$cond": [is_sent, "$count", 0]}}, **sums}},
            ],
        )
        return Counts(**{name: int(found[0][name]) for name in ("sent", *sums)}) if found else Counts()

    async def fault_groups(self, import_id: str, *, limit: int) -> Sequence[FaultGroup]:
        """Return the kinds of faults, the most frequent first."""
        found = await self._mongo.aggregate(
            self._batches,
            [
                {"$match": {**_all(import_id), "groups": {"$exists": True}}},
                {"$project": {"groups": 1}},
                {"$unwind": "$groups"},
                {
                    "$group": {
                        "_id": {"code": "$groups.code", "place": "$groups.place", "product": "$groups.product"},
                        "records": {"$sum": "$groups.records"},
                    }
                },
                {"$sort": {"records": -1, "_id": 1}},
                {"$limit": limit},
            ],
        )
        return [FaultGroup(**each["_id"], records=int(each["records"])) for each in found]

    async def jobs(self, import_id: str, *, limit: int) -> Sequence[tuple[str, int]]:
        """Return the first jobs with failed records, and how many these are."""
        query = {**_all(import_id), "job": {"$exists": True}, "failed": {"$gt": 0}}
        cursor = self._batches.find(query, {"job": 1, "failed": 1}).sort("_id", 1).limit(limit)
        return [(str(each["job"]), int(each["failed"])) for each in await fetch_all(cursor)]

    async def failed_records(self, import_id: str) -> AsyncIterator[tuple[int, list[RecordFault]]]:
        """Yield the records that failed, in the order of the file, each with its faults."""
        with mongo_errors():
            cursor = self._batches.find({**_all(import_id), "faults": {"$exists": True}}, {"faults": 1}).sort("_id", 1)
            async for each in cursor:
                for record, faults in _by_record(each["faults"]):
                    yield record, faults

    async def _append(self, run: FileImport, first: int, fields: Mapping[str, Any]) -> None:
        document = {"_id": _id(run.id, first), **fields, EXPIRES: date_of(run.expires_us)}
        try:
            with mongo_errors():
                await self._batches.insert_one(document)
        except DuplicateKeyError:
            raise PlaceTakenError(f"record {first} of import {run.id} is in a batch already") from None


def _id(import_id: str, first: int) -> str:
    return f"{import_id}:{first:010}"


def _all(import_id: str) -> dict[str, Any]:
    return {"_id": {"$gte": _id(import_id, 0), "$lte": _id(import_id, _LAST)}}


def _outcome(faults: Sequence[RecordFault]) -> dict[str, Any]:
    """Return the members of an entry that say what is wrong with its records."""
    if not faults:
        return {}
    groups = Counter({(fault.record, fault.code, without_positions(fault.field), fault.product) for fault in faults})
    records = Counter[tuple[str, str, str | None]]()
    for _, *group in groups:
        records[tuple(group)] += 1  # type: ignore[index]
    return {
        "faults": [[fault.record, fault.code, fault.field, fault.message, fault.product] for fault in faults],
        "groups": [
            {"code": code, "place": place, "product": product, "records": count}
            for (code, place, product), count in records.items()
        ],
    }


def _by_record(faults: Iterable[Sequence[Any]]) -> Iterable[tuple[int, list[RecordFault]]]:
    found: dict[int, list[RecordFault]] = {}
    for fault in sorted(faults, key=lambda each: each[0]):
        found.setdefault(fault[0], []).append(RecordFault(*fault))
    return found.items()
