"""Transactions in MongoDB.

A transaction is stored under a sequence number of its purchase order, which hands out numbers while it is open; a
unique index admits one transaction per number. So closing needs no lock and no multi-document transaction: a closed
purchase order hands out no numbers, and a reserved but unused number is voided by a document without a customer
(ADR 8).
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import Any
from uuid import uuid4

from pymongo import UpdateMany
from pymongo.errors import BulkWriteError, DuplicateKeyError
from pymongo.read_concern import ReadConcern

from services.chassis.mongodb import outbox
from services.chassis.mongodb.client import (
    Mongo,
    create_index,
    create_unique_index,
    duplicate_positions,
    fetch_all,
    mongo_errors,
)
from services.fulfilment.adapters.batcher import Batcher
from services.fulfilment.domain.listing import TransactionQuery
from services.fulfilment.domain.purchase_order import PurchaseOrder
from services.fulfilment.domain.totals import PurchaseOrderTotals
from services.fulfilment.domain.transaction import MAX_DUE_AHEAD_US, Transaction
from services.fulfilment.ports import InsertResult, TransactionStore
from services.fulfilment.wire import documents
from services.fulfilment.wire.events import EventCodec

TRANSACTIONS = "transactions"
BATCH_SIZE = 200
SEQUENCES_BATCH_SIZE = 1_000
# Decoding a transaction of more lines takes a fraction of a millisecond.
MANY_LINES = 20
# Identifies the save that stored the present counts.
SAVED_BY = "saved_by"
_PENDING = {"pending": True}
_NOT_VOID = {"site": {"$exists": True}}
_WITHOUT_OUTBOX = {outbox.FIELD: 0}
_INSERT_RESULTS = {
    "_id": InsertResult.EXISTS,
    "unique_order_number": InsertResult.NUMBER_TAKEN,
    "purchase_order": InsertResult.SEQUENCE_TAKEN,
}


class MongoTransactionStore(TransactionStore):
    """Stores transactions with their events. `on_outbox_write` is called after each write to the outbox."""

    def __init__(
        self, mongo: Mongo, codec: EventCodec, *, now_us: Callable[[], int], on_outbox_write: Callable[[], None]
    ) -> None:
        self._mongo = mongo
        self._transactions = documents.with_decimals(mongo.collection(TRANSACTIONS))
        # A failing primary may roll back writes that were not replicated: these must not be invoiced.
        self._majority = self._transactions.with_options(read_concern=ReadConcern("majority"))
        self._codec = codec
        self._now_us = now_us
        self._on_outbox_write = on_outbox_write
        self._inserts = Batcher(self._insert_batch, size=lambda transaction: len(transaction.lines))
        self._lookups = Batcher(self._find_batch)
        self._saves = Batcher(self._save_batch)
        self._reschedules = Batcher(self._reschedule_batch)

    async def create_indexes(self) -> None:
        """Create the indexes; raises `UnavailableError`."""
        unique_number = [("unique_order_number", 1)]
        await create_unique_index(self._transactions, [("purchase_order", 1), ("sequence", 1)], name="sequence")
        await create_unique_index(self._transactions, unique_number, name="unique_order_number", sparse=True)
        create = partial(create_index, self._transactions)
        newest_first = [("created_us", -1), ("_id", -1)]
        await create([("site", 1), *newest_first], name="newest")
        await create([("site", 1), ("client_order_number", 1), *newest_first], name="order_number")
        await create([("due_us", 1)], name="due", partialFilterExpression=_PENDING)
        await create([("waiting_for_skus", 1)], name="waiting", partialFilterExpression=_PENDING)
        await create([("created_us", 1)], name="oldest", partialFilterExpression=_PENDING)
        await create([("purchase_order", 1)], name="uncredited", partialFilterExpression={"has_uncredited": True})

    async def add(self, transaction: Transaction) -> InsertResult:
        return await self._inserts.submit(transaction)

    async def _insert_batch(self, transactions: Sequence[Transaction]) -> Sequence[InsertResult]:
        results = [InsertResult.INSERTED] * len(transactions)
        try:
            with mongo_errors():
                await self._transactions.insert_many(list(map(self._new_document, transactions)), ordered=False)
        except BulkWriteError as error:
            duplicate_positions(error)
            for duplicate in (error.details or {})["writeErrors"]:
                (first_field, *_) = duplicate["keyPattern"]
                results[duplicate["index"]] = _INSERT_RESULTS[first_field]
        if InsertResult.INSERTED in results:
            self._on_outbox_write()
        return results

    def _new_document(self, transaction: Transaction) -> dict[str, Any]:
        placed = outbox.to_outbox_field([self._codec.order_placed(transaction)])
        return {**documents.transaction_document(transaction), outbox.FIELD: placed}

    async def find(self, transaction_id: str) -> Transaction | None:
        return await self._lookups.submit(transaction_id)

    async def _find_batch(self, transaction_ids: Sequence[str]) -> Sequence[Transaction | None]:
        conditions = {"_id": {"$in": list(set(transaction_ids))}, **_NOT_VOID}
        found = await fetch_all(self._transactions.find(conditions, _WITHOUT_OUTBOX))
        by_id = {document["_id"]: documents.transaction_from_document(document) for document in found}
        return [by_id.get(transaction_id) for transaction_id in transaction_ids]

    async def find_for_site(self, site: int, transaction_id: str) -> Transaction | None:
        return await self._find_one(self._majority, {"_id": transaction_id, "site": site})

    async def find_by_order_number(self, site: int, number: str) -> Transaction | None:
        conditions = {"site": site, "client_order_number": number}
        return await self._find_one(self._majority, conditions, sort=[("created_us", 1), ("_id", 1)])

    async def save(self, transaction: Transaction) -> bool:
        return await self._saves.submit(transaction)

    async def _save_batch(self, transactions: Sequence[Transaction]) -> Sequence[bool]:
        saves = [(transaction, uuid4().hex) for transaction in transactions]
        with mongo_errors():
            result = await self._transactions.bulk_write([self._update(*save) for save in saves], ordered=False)
        if result.matched_count:
            self._on_outbox_write()
        if result.matched_count == len(saves):
            return [True] * len(saves)
        # MongoDB reports how many updates matched, not which.
        stored_by = await self._last_saves([transaction.id for transaction in transactions])
        return [stored_by.get(transaction.id) == save_id for transaction, save_id in saves]

    def _update(self, transaction: Transaction, save_id: str) -> UpdateMany:
        conditions, update = documents.transaction_update(transaction.version - 1, transaction)
        update["$set"][SAVED_BY] = save_id
        # The driver does not send `UpdateMany` again by itself: MongoDB would have to remember each update.
        return UpdateMany(
            conditions, update | outbox.outbox_push([self._codec.availability_changed(transaction, self._now_us())])
        )

    async def _last_saves(self, transaction_ids: Sequence[str]) -> Mapping[str, str]:
        found = await fetch_all(self._transactions.find({"_id": {"$in": list(transaction_ids)}}, {SAVED_BY: 1}))
        return {document["_id"]: document[SAVED_BY] for document in found if SAVED_BY in document}

    async def reschedule(self, transaction: Transaction, *, due_us: int) -> None:
        await self._reschedules.submit((transaction.id, due_us))

    async def _reschedule_batch(self, times: Sequence[tuple[str, int]]) -> Sequence[None]:
        updates = [
            UpdateMany({"_id": transaction_id, **_PENDING}, {"$set": {"due_us": due_us}, "$inc": {"attempts": 1}})
            for transaction_id, due_us in times
        ]
        with mongo_errors():
            await self._transactions.bulk_write(updates, ordered=False)
        return [None] * len(times)

    async def claim_due(self, *, limit: int, lease_us: int) -> Sequence[str]:
        now_us = self._now_us()
        claimed = []
        with mongo_errors():
            found: list[dict[str, Any]] = []
            for times in ({"$lte": now_us}, {"$gt": now_us + MAX_DUE_AHEAD_US}):
                if len(found) < limit:
                    cursor = self._transactions.find({**_PENDING, "due_us": times}, {"due_us": 1}).sort("due_us", 1)
                    found += await cursor.limit(limit - len(found)).to_list(None)
            for document in found:
                unclaimed = {"_id": document["_id"], **_PENDING, "due_us": document["due_us"]}
                result = await self._transactions.update_one(unclaimed, {"$set": {"due_us": now_us + lease_us}})
                if result.matched_count:
                    claimed.append(str(document["_id"]))
        return claimed

    async def make_due(self, sku: str) -> None:
        with mongo_errors():
            await self._transactions.update_many(
                {**_PENDING, "waiting_for_skus": sku}, [{"$set": {"due_us": "$created_us", "attempts": 0}}]
            )

    async def count_pending(self) -> tuple[int, int | None]:
        with mongo_errors():
            count = await self._transactions.count_documents(_PENDING, hint="oldest")
            oldest = await self._transactions.find_one(_PENDING, {"created_us": 1}, sort=[("created_us", 1)])
        return count, oldest and oldest["created_us"]

    async def count_waiting(self, sku: str) -> int:
        """Return the number of transactions that wait for codes of this product."""
        with mongo_errors():
            waiting = {**_PENDING, "waiting_for_skus": sku}
            return int(await self._transactions.count_documents(waiting, hint="waiting"))

    async def iterate_by_purchase_order(self, order_id: str) -> AsyncIterator[Transaction]:
        conditions = {"purchase_order": order_id, **_NOT_VOID}
        # In small batches: decoding a day with very many transactions must not block the event loop.
        cursor = self._majority.find(conditions, _WITHOUT_OUTBOX).sort("sequence", 1).batch_size(BATCH_SIZE)
        with mongo_errors():
            async for document in cursor:
                yield documents.transaction_from_document(document)

    async def totals(self, order_id: str) -> PurchaseOrderTotals:
        # Aggregated by MongoDB: a day may be too large to load.
        (found,) = await self._mongo.aggregate(self._majority, _totals_pipeline(order_id))
        return documents.totals_from_document(found)

    async def unused_sequences(self, order: PurchaseOrder) -> Sequence[int]:
        conditions = {"purchase_order": order.id, "sequence": {"$lte": order.last_sequence}}
        is_used = bytearray(order.last_sequence + 1)
        with mongo_errors():
            if await self._majority.count_documents(conditions) == order.last_sequence:
                return []
            cursor = self._majority.find(conditions, {"_id": 0, "sequence": 1}).batch_size(SEQUENCES_BATCH_SIZE)
            async for document in cursor:
                is_used[document["sequence"]] = True
        return [sequence for sequence in range(1, order.last_sequence + 1) if not is_used[sequence]]

    async def void_sequence(self, order_id: str, sequence: int) -> None:
        void = {"_id": f"{order_id}:{sequence}", "purchase_order": order_id, "sequence": sequence}
        try:
            with mongo_errors():
                await self._transactions.insert_one(void)
        except DuplicateKeyError:
            return

    async def uncredited(self) -> Mapping[str, Sequence[str]]:
        days = {"$addToSet": "$cancellations.business_date"}
        pipeline: list[dict[str, Any]] = [
            {"$match": {"has_uncredited": True}},
            {"$unwind": "$cancellations"},
            {"$group": {"_id": "$purchase_order", "days": days}},
        ]
        found = await self._mongo.aggregate(self._transactions, pipeline, hint="uncredited")
        return {document["_id"]: sorted(document["days"]) for document in found}

    async def mark_credited(self, transaction_id: str, *, version: int) -> None:
        conditions = {"_id": transaction_id, "version": version, "has_uncredited": True}
        with mongo_errors():
            await self._transactions.update_one(conditions, {"$unset": {"has_uncredited": ""}})

    async def find_page(self, query: TransactionQuery) -> Sequence[Transaction]:
        newest_first = [("created_us", -1), ("_id", -1)]
        cursor = self._majority.find(_filter(query), _WITHOUT_OUTBOX).sort(newest_first).limit(query.rows + 1)
        page: list[Transaction] = []
        for document in await fetch_all(cursor):
            page.append(documents.transaction_from_document(document))
            if len(page[-1].lines) > MANY_LINES:
                await asyncio.sleep(0)
        return page

    async def _find_one(self, collection: Any, conditions: dict[str, Any], **options: Any) -> Transaction | None:
        with mongo_errors():
            found = await collection.find_one(conditions, _WITHOUT_OUTBOX, **options)
        return None if found is None else documents.transaction_from_document(found)


def _totals_pipeline(order_id: str) -> list[dict[str, Any]]:
    """Merge the lines as `domain.totals.LineMerger` does."""
    fields = {"ordered": "quantity", "delivered": "delivered", "cancelled": "cancelled"}
    counts = {name: {"$sum": f"$lines.{field}"} for name, field in fields.items()}
    first = {"name": {"$first": "$lines.name"}, "sequence": {"$first": "$sequence"}, "line": {"$first": "$line"}}
    lines: list[dict[str, Any]] = [
        {"$unwind": {"path": "$lines", "includeArrayIndex": "line"}},
        {"$group": {"_id": {"sku": "$lines.sku", "unit_price": "$lines.unit_price"}, **first, **counts}},
        {"$sort": {"sequence": 1, "line": 1}},
    ]
    return [
        {"$match": {"purchase_order": order_id, **_NOT_VOID}},
        {"$sort": {"sequence": 1}},
        {"$facet": {"lines": lines, "counts": [{"$count": "transactions"}]}},
    ]


def _filter(query: TransactionQuery) -> dict[str, Any]:
    conditions: dict[str, Any] = documents.without_none(
        {
            "site": query.site,
            "_id": query.transaction_id,
            "client_order_number": query.client_order_number,
            "purchase_order": query.purchase_order,
        }
    )
    created = documents.without_none({"$gte": query.from_us, "$lt": query.to_us})
    if query.after is not None:
        last_us = int(query.after.sort_key)
        created["$lte"] = min(last_us, created.pop("$lt", last_us + 1) - 1)
        conditions["$or"] = [{"created_us": {"$lt": last_us}}, {"_id": {"$lt": query.after.id}}]
    if created:
        conditions["created_us"] = created
    return conditions
