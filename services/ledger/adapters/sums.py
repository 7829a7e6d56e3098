"""The sums in MongoDB: a document for each month, channel, mode, currency and store, its days inside.

Transactions that record sales only note what they change, in `ledger_movements`: if they changed the sums themselves,
those of all partitions would conflict. `fold` adds the notes to the sums; readers add those that are not yet folded.
What is folded is published, and then deleted.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import accumulate
from typing import Any

from msgspec import UNSET
from pymongo import DeleteOne, ReplaceOne
from pymongo.read_concern import ReadConcern

from services.chassis.mongodb.client import Mongo, mongo_errors
from services.chassis.runtime.errors import ContentionError
from services.chassis.runtime.failpoints import failpoint
from services.ledger.adapters.collections import BOOKS, ENTRIES, MOVEMENTS, SUMS
from services.ledger.domain.entries import Group
from services.ledger.domain.movement import Book, Folded, Movement, Part, StoredSums
from services.ledger.domain.report import STORE, Filter, MonthSums, ReportQuery
from services.ledger.domain.sums import Sums, add_to, months_between, without_store
from services.ledger.ports import ReportReader, ReportView, SumStore
from services.ledger.wire import documents

MAX_MOVEMENTS_PER_FOLD, MAX_CELLS_PER_FOLD = 50, 20_000
SCAN_BATCH, GROUPS_PER_TURN = 1_000, 50
ALL_STORES, BY_STORE, RETIRED = "all", "store", "retired"

# A month has the sums of up to 31 days.
MONTHS_PER_BATCH = 250
_FOLDED = failpoint("ledger-folded")


class MongoSums(SumStore, ReportReader):
    """Folds movements into the sums, and reads them."""

    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo
        majority = ReadConcern("majority")
        self._movements = mongo.collection(MOVEMENTS).with_options(read_concern=majority)

    async def fold(self) -> Folded:
        with mongo_errors():
            waiting = self._movements.find({"folded": False}, {"size": 1}).limit(MAX_MOVEMENTS_PER_FOLD)
            found = await waiting.to_list(None)
        sizes = accumulate(int(document["size"]) for document in found)
        # Bounded, so that the transaction does not take long; but always one.
        fitting = max(sum(size <= MAX_CELLS_PER_FOLD for size in sizes), 1)
        ids = [document["_id"] for document in found[:fitting]]
        if not ids:
            return Folded(0, has_more=False)
        async with self._mongo.transaction() as session:
            count = await self._fold(ids, session)
            _FOLDED()
        return Folded(count, has_more=len(found) == MAX_MOVEMENTS_PER_FOLD or fitting < len(found))

    async def _fold(self, ids: Sequence[str], session: Any) -> int:
        where = {"_id": {"$in": ids}, "folded": False}
        found = await self._mongo.collection(MOVEMENTS).find(where, session=session).to_list(None)
        changes = _changes_of(list(map(documents.movement_from, found)))
        stored = await self._mongo.collection(SUMS).find({"_id": {"$in": changes.ids()}}, session=session).to_list(None)
        updated = changes.apply_to(stored)
        if updated:
            operations = [
                ReplaceOne({"_id": each["_id"]}, each, upsert=True) if each["days"] else DeleteOne({"_id": each["_id"]})
                for each in updated
            ]
            await self._mongo.collection(SUMS).bulk_write(operations, ordered=False, session=session)
        result = await self._mongo.collection(MOVEMENTS).update_many(where, {"$set": {"folded": True}}, session=session)
        if result.modified_count != len(found):
            raise ContentionError("the ledger")
        return len(found)

    @asynccontextmanager
    async def view(self) -> AsyncIterator["SumsView"]:
        async with self._mongo.snapshot() as session:
            with mongo_errors():
                yield SumsView(self._mongo, session)

    async def retired(self, book: Book) -> Sums:
        async with self.view() as view:
            return (await view.all_sums(book)).retired

    async def drop_before(self, book: Book) -> None:
        where = {"site": book.site, "generation": {"$lt": book.generation}}
        with mongo_errors():
            await self._mongo.collection(SUMS).delete_many(where)

    async def pending(self, *, is_folded: bool) -> tuple[int, int | None]:
        """Return how many movements wait to be folded, or to be published, and when the oldest was made."""
        where = {"folded": is_folded}
        with mongo_errors():
            count = await self._movements.count_documents(where)
            oldest = await self._movements.find(where, {"at": 1}).sort("at", 1).limit(1).to_list(None) if count else []
        return count, int(oldest[0]["at"]) if oldest else None


class SumsView(ReportView):
    """Reads that see one state."""

    def __init__(self, mongo: Mongo, session: Any) -> None:
        self._mongo = mongo
        self._session = session

    async def book(self, site: int) -> Book | None:
        document = await self._mongo.collection(BOOKS).find_one({"_id": site}, session=self._session)
        return None if document is None else documents.book_from(document)

    async def sites(self) -> list[int]:
        found = await self._mongo.collection(BOOKS).find({}, {"_id": 1}, session=self._session).to_list(None)
        return [int(document["_id"]) for document in found]

    async def months(self, book: Book, query: ReportQuery) -> AsyncIterator[Sequence[MonthSums]]:
        family = BY_STORE if STORE in query.by else ALL_STORES
        where: dict[str, Any] = {"site": book.site, "generation": book.generation, "family": family}
        where["month"] = {"$in": list(months_between(query.first, query.last))}
        where |= _conditions(query.filter)
        fields = {"days": 0} if query.has_whole_months else None
        cursor = self._mongo.collection(SUMS).find(where, fields, session=self._session).hint("months")
        cursor.batch_size(MONTHS_PER_BATCH)
        while found := await cursor.to_list(MONTHS_PER_BATCH):
            yield list(map(documents.month_sums_from, found))

    async def all_sums(self, book: Book) -> StoredSums:
        return StoredSums(*[await self._cells(book, family) for family in (ALL_STORES, BY_STORE, RETIRED)])

    async def _cells(self, book: Book, family: str) -> Sums:
        where = {"site": book.site, "generation": book.generation, "family": family}
        sums: Sums = {}
        async for document in self._mongo.collection(SUMS).find(where, session=self._session):
            add_to(sums, documents.cells_of_month(document))
        return sums

    async def unfolded(self, book: Book) -> list[Part]:
        where = {"folded": False, "parts.site": book.site}
        found = await self._mongo.collection(MOVEMENTS).find(where, session=self._session).to_list(None)
        parts = [part for document in found for part in documents.movement_from(document).parts]
        return [part for part in parts if (part.site, part.generation) == (book.site, book.generation)]

    async def groups(
        self, site: int, *, first_us: int | None = None, last_us: int | None = None
    ) -> AsyncIterator[Group]:
        where: dict[str, Any] = {"site": site, "orders": {"$exists": True}}
        if first_us is not None:
            where["last"] = {"$gte": first_us}
        if last_us is not None:
            where["first"] = {"$lt": last_us}
        cursor = self._mongo.collection(ENTRIES).find(where, session=self._session).hint("site").batch_size(SCAN_BATCH)
        number = 0
        async for document in cursor:
            yield documents.group_from(document)
            number += 1
            if number % GROUPS_PER_TURN == 0:
                # The driver has a batch in memory: the event loop must not wait for all of it.
                await asyncio.sleep(0)


def _changes_of(movements: Iterable[Movement]) -> documents.SumChanges:
    """Return what the movements change of the stored sums, those of the same cell added."""
    counted: dict[tuple[int, int], Sums] = {}
    retired: dict[tuple[int, int], Sums] = {}
    for movement in movements:
        for part in movement.parts:
            if part.generation is not None:
                sums = retired if part.is_retired else counted
                add_to(sums.setdefault((part.site, part.generation), {}), part.sums)
    changes = documents.SumChanges()
    for (site, generation), each in counted.items():
        changes.add(site, generation, BY_STORE, each)
        changes.add(site, generation, ALL_STORES, without_store(each))
    for (site, generation), each in retired.items():
        changes.add(site, generation, RETIRED, each)
    return changes


def _conditions(wanted: Filter) -> Mapping[str, Any]:
    conditions: dict[str, Any] = {}
    if wanted.channel is not UNSET:
        conditions["channel"] = wanted.channel
    if wanted.mode is not None:
        conditions["mode"] = wanted.mode
    if wanted.currency is not None:
        conditions["currency"] = wanted.currency
    return conditions
