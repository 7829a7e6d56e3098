"""Transactions in MongoDB.

A transaction stands on a place of its purchase order: the purchase order's one document gives places while it is open,
a unique index keeps each place for one. So closing needs no lock and no multi-document transaction: a closed purchase
order gives no places, and a place that was given and not taken is blocked by a document without customer.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pymongo.errors import DuplicateKeyError
from pymongo.read_concern import ReadConcern

from services.chassis.mongodb import outbox
from services.chassis.mongodb.client import Mongo, mongo_errors
from services.fulfilment.domain.listing import TransactionQuery
from services.fulfilment.domain.purchase_order import PurchaseOrder
from services.fulfilment.domain.totals import PurchaseOrderTotals
from services.fulfilment.domain.transaction import Transaction
from services.fulfilment.ports import InsertResult
from services.fulfilment.wire import documents
from services.fulfilment.wire.events import EventCodec

TRANSACTIONS = "transactions"
BATCH_SIZE = 200
_UNSHOWN = {outbox.FIELD: 0}
_COUNTED = (("ordered", "quantity"), ("delivered", "delivered"), ("cancelled", "cancelled"))


class MongoTransactionStore:
    """The transactions' store. `announce` is called when a change has put its event into the outbox."""

    def __init__(
        self, mongo: Mongo, events: EventCodec, *, now_us: Callable[[], int], on_outbox_write: Callable[[], None]
    ) -> None:
        self._mongo = mongo
        self._transactions = documents.with_decimals(mongo.collection(TRANSACTIONS))
        self._shown = self._transactions.with_options(read_concern=ReadConcern("majority"))
        self._events = events
        self._now_us = now_us
        self._announce = on_outbox_write

    async def create_indexes(self) -> None:
        """Make the indexes; raises `Away`."""
        is_pending, owes = {"pending": True}, {"has_uncredited": True}
        with mongo_errors():
            create = self._transactions.create_index
            await create([("purchase_order", 1), ("sequence", 1)], name="sequence", unique=True)
            await create([("unique_order_number", 1)], name="unique_order_number", unique=True, sparse=True)
            await create([("site", 1), ("created_us", -1), ("_id", -1)], name="listed")
            await create([("site", 1), ("client_order_number", 1), ("created_us", -1), ("_id", -1)], name="numbered")
            await create([("due_us", 1)], name="due", partialFilterExpression=is_pending)
            await create([("waiting_for_skus", 1)], name="waiting_for_skus", partialFilterExpression=is_pending)
            await create([("created_us", 1)], name="oldest", partialFilterExpression=is_pending)
            await create([("purchase_order", 1)], name="uncredited", partialFilterExpression=owes)

    async def add(self, transaction: Transaction) -> InsertResult:
        """Store it, durably, with the event that it was placed."""
        document = documents.transaction_document(transaction)
        document[outbox.FIELD] = outbox.to_outbox_field([self._events.order_placed(transaction)])
        try:
            with mongo_errors():
                await self._transactions.insert_one(document)
        except DuplicateKeyError as error:
            return _taken(error)
        self._announce()
        return InsertResult.INSERTED

    async def find(self, transaction_id: str) -> Transaction | None:
        """The transaction."""
        return await self._one(self._transactions, {"_id": transaction_id, "site": {"$exists": True}})

    async def find_for_site(self, site: int, transaction_id: str) -> Transaction | None:
        """The customer's transaction, as a majority has it."""
        return await self._one(self._shown, {"_id": transaction_id, "site": site})

    async def find_by_order_number(self, site: int, number: str) -> Transaction | None:
        """The customer's first one with this order number, as a majority has it."""
        where = {"site": site, "client_order_number": number}
        return await self._one(self._shown, where, sort=[("created_us", 1), ("_id", 1)])

    async def save(self, transaction: Transaction) -> bool:
        """Store new counts with their event; False if another version than the one before it is stored."""
        guard, update = documents.transaction_change(transaction.version - 1, transaction)
        update |= outbox.outbox_push([self._events.availability_changed(transaction, self._now_us())])
        with mongo_errors():
            done = await self._transactions.update_one(guard, update)
        if done.matched_count:
            self._announce()
        return bool(done.matched_count)

    async def reschedule(self, transaction: Transaction, *, due_us: int) -> None:
        """Look at it again then."""
        with mongo_errors():
            await self._transactions.update_one(
                {"_id": transaction.id, "pending": True}, {"$set": {"due_us": due_us}, "$inc": {"attempts": 1}}
            )

    async def claim_due(self, *, limit: int, lease_us: int) -> Sequence[str]:
        """The ids of pending transactions whose time has come; nobody else gets them while the lease lasts."""
        now_us = self._now_us()
        claimed = []
        with mongo_errors():
            where = {"pending": True, "due_us": {"$lte": now_us}}
            found = await self._transactions.find(where, {"due_us": 1}).sort("due_us", 1).limit(limit).to_list(None)
            for one in found:
                guard = {"_id": one["_id"], "pending": True, "due_us": one["due_us"]}
                done = await self._transactions.update_one(guard, {"$set": {"due_us": now_us + lease_us}})
                if done.matched_count:
                    claimed.append(str(one["_id"]))
        return claimed

    async def make_due(self, sku: str) -> None:
        """New stock: those that wait for this product are due, the oldest first."""
        with mongo_errors():
            await self._transactions.update_many(
                {"pending": True, "waiting_for_skus": sku}, [{"$set": {"due_us": "$created_us", "attempts": 0}}]
            )

    async def count_pending(self) -> tuple[int, int | None]:
        """How many are pending, and since when the oldest is."""
        with mongo_errors():
            count = await self._transactions.count_documents({"pending": True}, hint="oldest")
            oldest = await self._transactions.find_one({"pending": True}, {"created_us": 1}, sort=[("created_us", 1)])
        return count, oldest and oldest["created_us"]

    async def count_waiting(self, sku: str) -> int:
        """How many transactions wait for codes of this product."""
        with mongo_errors():
            return int(
                await self._transactions.count_documents(
                    {"pending": True, "waiting_for_skus": sku}, hint="waiting_for_skus"
                )
            )

    async def list_by_purchase_order(self, order_id: str) -> Sequence[Transaction]:
        """All transactions of a purchase order, by their places."""
        where = {"purchase_order": order_id, "site": {"$exists": True}}
        # In lots: who reads a day with very many must let others have their turn.
        lots = self._transactions.find(where, _UNSHOWN).sort("sequence", 1).batch_size(BATCH_SIZE)
        with mongo_errors():
            return [documents.transaction_from_document(document) async for document in lots]

    async def totals(self, order_id: str) -> PurchaseOrderTotals:
        """What stands on a purchase order, added up where it is kept: a day may have more than fits into memory."""
        (found,) = await self._mongo.aggregate(self._shown, _adding_up(order_id))
        return documents.totals_from_document(found)

    async def unused_sequences(self, order: PurchaseOrder) -> Sequence[int]:
        """Places that were given and on which nothing stands."""
        with mongo_errors():
            if await self._transactions.count_documents({"purchase_order": order.id}) == order.last_sequence:
                return []
            found = await self._transactions.find({"purchase_order": order.id}, {"_id": 0, "sequence": 1}).to_list(None)
        taken = {document["sequence"] for document in found}
        return [place for place in range(1, order.last_sequence + 1) if place not in taken]

    async def void_sequence(self, order_id: str, sequence: int) -> None:
        """Let nothing stand on this place any more, unless something does."""
        blocker = {"_id": f"{order_id}:{sequence}", "purchase_order": order_id, "sequence": sequence}
        try:
            with mongo_errors():
                await self._transactions.insert_one(blocker)
        except DuplicateKeyError:
            return

    async def uncredited(self) -> Mapping[str, Sequence[str]]:
        """Purchase orders with cancellations that are not accounted for, and the days of these."""
        days = {"$addToSet": "$cancellations.business_date"}
        steps: list[dict[str, Any]] = [
            {"$match": {"has_uncredited": True}},
            {"$unwind": "$cancellations"},
            {"$group": {"_id": "$purchase_order", "days": days}},
        ]
        found = await self._mongo.aggregate(self._transactions, steps, hint="uncredited")
        return {one["_id"]: sorted(one["days"]) for one in found}

    async def mark_credited(self, transaction: Transaction) -> None:
        """Its cancellations, as far as this version knows them, are all accounted for."""
        with mongo_errors():
            await self._transactions.update_one(
                {"_id": transaction.id, "version": transaction.version, "has_uncredited": True},
                {"$unset": {"has_uncredited": ""}},
            )

    async def find_page(self, query: TransactionQuery) -> Sequence[Transaction]:
        """A page and one more, newest first."""
        newest_first = [("created_us", -1), ("_id", -1)]
        with mongo_errors():
            found = (
                await self._shown.find(_where(query), _UNSHOWN).sort(newest_first).limit(query.rows + 1).to_list(None)
            )
        return [documents.transaction_from_document(document) for document in found]

    async def _one(self, collection: Any, where: dict[str, Any], **how: Any) -> Transaction | None:
        with mongo_errors():
            found = await collection.find_one(where, _UNSHOWN, **how)
        return None if found is None else documents.transaction_from_document(found)


def _taken(error: DuplicateKeyError) -> InsertResult:
    """Which of the unique indexes refused it."""
    (first, *_) = (error.details or {}).get("keyPattern", {"_id": 1})
    return {
        "_id": InsertResult.EXISTS,
        "unique_order_number": InsertResult.NUMBER_TAKEN,
        "purchase_order": InsertResult.SEQUENCE_TAKEN,
    }[first]


def _adding_up(order_id: str) -> list[dict[str, Any]]:
    """Adds up what stands on a purchase order as `domain.sums.merged` does."""
    counts = {name: {"$sum": f"$lines.{field}"} for name, field in _COUNTED}
    first = {"name": {"$first": "$lines.name"}, "sequence": {"$first": "$sequence"}, "number": {"$first": "$number"}}
    lines: list[dict[str, Any]] = [
        {"$unwind": {"path": "$lines", "includeArrayIndex": "number"}},
        {"$group": {"_id": {"sku": "$lines.sku", "unit_price": "$lines.unit_price"}, **first, **counts}},
        {"$sort": {"sequence": 1, "number": 1}},
    ]
    return [
        {"$match": {"purchase_order": order_id, "site": {"$exists": True}}},
        {"$sort": {"sequence": 1}},
        {"$facet": {"lines": lines, "counted": [{"$count": "transactions"}]}},
    ]


def _where(asked: TransactionQuery) -> dict[str, Any]:
    where: dict[str, Any] = {"site": asked.site}
    if asked.transaction_id is not None:
        where["_id"] = asked.transaction_id
    if asked.client_order_number is not None:
        where["client_order_number"] = asked.client_order_number
    if asked.purchase_order is not None:
        where["purchase_order"] = asked.purchase_order
    created: dict[str, int] = {}
    if asked.from_us is not None:
        created["$gte"] = asked.from_us
    if asked.to_us is not None:
        created["$lt"] = asked.to_us
    if asked.after is not None:
        at_us = int(asked.after.sort_key)
        created["$lte"] = min(at_us, created.pop("$lt", at_us + 1) - 1)
        where["$or"] = [{"created_us": {"$lt": at_us}}, {"_id": {"$lt": asked.after.id}}]
    if created:
        where["created_us"] = created
    return where
