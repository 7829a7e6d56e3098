"""Entries, books and movements in MongoDB."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import Any

from pymongo import DeleteMany, DeleteOne, InsertOne, ReplaceOne, UpdateOne
from pymongo.errors import BulkWriteError, DocumentTooLarge, OperationFailure

from services.chassis.mongodb.client import DUPLICATE_KEY, Mongo, mongo_errors
from services.chassis.runtime.errors import ContentionError
from services.chassis.runtime.failpoints import failpoint
from services.ledger.adapters.collections import BOOKS, ENTRIES, ERASURES, MOVEMENTS, PARTITIONS
from services.ledger.domain.entries import GroupKey
from services.ledger.domain.movement import Book, GroupChange, Movement, StoredGroup
from services.ledger.ports import EntryTooLargeError, Ledger, Transaction
from services.ledger.wire import documents

# Codes of documents that are too large, in an insert and in an update.
_TOO_LARGE_CODES = frozenset({10334, 17419, 17420})
SCAN_BATCH = 500
# How a user of a site is named in the list of erased users.
Fingerprint = Callable[[int, str], str]

_ENTRIES_WRITTEN = failpoint("ledger-entries-written")
_MOVEMENT_WRITTEN = failpoint("ledger-movement-written")
_COMMITTED = failpoint("ledger-committed")


class MongoLedger(Ledger):
    """The ledger in MongoDB. `user_fingerprint` hides which users were erased."""

    def __init__(self, mongo: Mongo, *, now: Callable[[], datetime], user_fingerprint: Fingerprint) -> None:
        self._mongo = mongo
        self._now = now
        self._user_fingerprint = user_fingerprint

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["MongoTransaction"]:
        async with self._mongo.transaction() as session:
            yield MongoTransaction(self._mongo, session, now=self._now, user_fingerprint=self._user_fingerprint)
        _COMMITTED()

    async def fence(self) -> None:
        # Each of them changes the document of its partition, and so does this: one that began before conflicts with it.
        with mongo_errors():
            await self._mongo.collection(PARTITIONS).update_many({}, {"$inc": {"fences": 1}})

    async def add_partitions(self, partitions: Sequence[str]) -> None:
        updates = [
            UpdateOne({"_id": partition}, {"$setOnInsert": {"next": 0, "fences": 0}}, upsert=True)
            for partition in partitions
        ]
        with mongo_errors():
            await self._mongo.collection(PARTITIONS).bulk_write(updates, ordered=False)

    async def scan(self, site: int, *, generation_before: int) -> AsyncIterator[list[GroupKey]]:
        where = {"site": site, "generation": {"$lt": generation_before}}
        cursor = self._mongo.collection(ENTRIES).find(where, {"_id": 1, "site": 1}).hint("site").batch_size(SCAN_BATCH)
        keys: list[GroupKey] = []
        with mongo_errors():
            async for document in cursor:
                keys.append(documents.group_key_from(document))
                if len(keys) == SCAN_BATCH:
                    yield keys
                    keys = []
        if keys:
            yield keys


class MongoTransaction(Transaction):
    """Operations of one transaction."""

    def __init__(
        self, mongo: Mongo, session: Any, *, now: Callable[[], datetime], user_fingerprint: Fingerprint
    ) -> None:
        self._mongo = mongo
        self._session = session
        self._now = now
        self._user_fingerprint = user_fingerprint

    async def advance(self, offsets: Mapping[str, int]) -> None:
        updates = [
            UpdateOne({"_id": partition}, {"$set": {"next": end}}, upsert=True) for partition, end in offsets.items()
        ]
        if updates:
            await self._write(PARTITIONS, updates)

    async def load_books(self, sites: Sequence[int]) -> dict[int, Book]:
        found = await self._find(BOOKS, {"_id": {"$in": list(sites)}})
        return {int(document["_id"]): documents.book_from(document) for document in found}

    async def add_book(self, book: Book) -> None:
        await self._write(BOOKS, [InsertOne(documents.book_document(book))])

    async def update_book(self, book: Book) -> None:
        await self._write(BOOKS, [ReplaceOne({"_id": book.site}, documents.book_document(book))])

    async def load_pseudonyms(self, site: int, user_ids: Sequence[str]) -> dict[str, str]:
        by_fingerprint = {self._user_fingerprint(site, user_id): user_id for user_id in user_ids}
        found = await self._find(ERASURES, {"_id": {"$in": list(by_fingerprint)}}, {"pseudonym": 1})
        return {by_fingerprint[document["_id"]]: document["pseudonym"] for document in found}

    async def load(self, keys: Sequence[GroupKey]) -> dict[GroupKey, StoredGroup]:
        found = await self._find(ENTRIES, {"_id": {"$in": list(map(documents.group_id, keys))}})
        stored = map(documents.stored_group_from, found)
        return {each.group.key: each for each in stored}

    async def load_of_user(self, site: int, user_id: str, *, limit: int) -> list[StoredGroup]:
        key = documents.user_key(site, user_id)
        found = await self._find(ENTRIES, {"others": key}, hint="others", limit=limit)
        listed = await self._find(ENTRIES, {"user": key}, hint="user", limit=limit)
        groups = [document["group"] for document in listed if "group" in document]
        if groups:
            found += await self._find(ENTRIES, {"_id": {"$in": groups}})
        found += [document for document in listed if "group" not in document]
        return list({each.group.key: each for each in map(documents.stored_group_from, found)}.values())

    async def load_unchanged_since(self, before: datetime, *, limit: int) -> list[StoredGroup]:
        found = await self._find(ENTRIES, {"changed": {"$lt": before}}, hint="changed", limit=limit)
        return list(map(documents.stored_group_from, found))

    async def save(self, changes: Sequence[GroupChange]) -> None:
        changed = self._now()
        operations: list[Any] = []
        for change in changes:
            first, *further = documents.group_documents(
                change.group,
                change.group.entries,
                generation=change.generation,
                changed=change.changed or changed,
            )
            if change.further is None:
                operations.append(InsertOne(first))
            else:
                operations.append(ReplaceOne({"_id": first["_id"]}, first))
            if change.further:
                operations.append(DeleteMany({"group": first["_id"]}))
            operations += map(InsertOne, further)
        with _size_errors():
            # What is replaced must be deleted first.
            await self._write(ENTRIES, operations, ordered=any(change.further for change in changes))
        _ENTRIES_WRITTEN()

    async def delete(self, groups: Sequence[StoredGroup]) -> None:
        operations: list[Any] = []
        for stored in groups:
            id_ = documents.group_id(stored.group.key)
            operations.append(DeleteOne({"_id": id_}))
            if stored.further:
                operations.append(DeleteMany({"group": id_}))
        await self._write(ENTRIES, operations)

    async def add_movement(self, movement: Movement) -> None:
        await self._write(MOVEMENTS, [InsertOne(documents.movement_document(movement))])
        _MOVEMENT_WRITTEN()

    async def _find(
        self,
        collection: str,
        where: Mapping[str, Any],
        fields: Mapping[str, int] | None = None,
        *,
        hint: str | None = None,
        limit: int = 0,
    ) -> list[dict[str, Any]]:
        cursor = self._mongo.collection(collection).find(where, fields, session=self._session, limit=limit)
        if hint is not None:
            cursor = cursor.hint(hint)
        found: list[dict[str, Any]] = await cursor.to_list(None)
        return found

    async def _write(self, collection: str, operations: Sequence[Any], *, ordered: bool = False) -> None:
        try:
            await self._mongo.collection(collection).bulk_write(operations, ordered=ordered, session=self._session)
        except BulkWriteError as error:
            # Another transaction has inserted the same document since this one began.
            if any(each["code"] == DUPLICATE_KEY for each in (error.details or {}).get("writeErrors", ())):
                raise ContentionError("the ledger") from error
            raise


@contextmanager
def _size_errors() -> Iterator[None]:
    try:
        yield
    except DocumentTooLarge as error:
        raise EntryTooLargeError("an order's records are larger than a document may be") from error
    except OperationFailure as error:
        write_errors = (error.details or {}).get("writeErrors", ()) if isinstance(error, BulkWriteError) else ()
        codes = {error.code, *(each["code"] for each in write_errors)}
        if not codes & _TOO_LARGE_CODES:
            raise
        raise EntryTooLargeError("an order's records would be larger than a document may be") from error
