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
from services.fulfilment.domain.listing import TransactionsAsked
from services.fulfilment.domain.purchase_order import PurchaseOrder
from services.fulfilment.domain.sums import Sums
from services.fulfilment.domain.transaction import Transaction
from services.fulfilment.ports import Added
from services.fulfilment.wire import documents
from services.fulfilment.wire.events import Events

TRANSACTIONS = "transactions"
LOT = 200
_UNSHOWN = {outbox.FIELD: 0}
_COUNTED = (("ordered", "quantity"), ("delivered", "delivered"), ("cancelled", "cancelled"))


class MongoTransactions:
    """The transactions' store. `announce` is called when a change has put its event into the outbox."""

    def __init__(
        self, mongo: Mongo, events: Events, *, now_us: Callable[[], int], announce: Callable[[], None]
    ) -> None:
        self._mongo = mongo
        self._transactions = documents.with_amounts(mongo.collection(TRANSACTIONS))
        self._shown = self._transactions.with_options(read_concern=ReadConcern("majority"))
        self._events = events
        self._now_us = now_us
        self._announce = announce

    async def prepare(self) -> None:
        """Make the indexes; raises `Away`."""
        is_open, owes = {"open": True}, {"owes": True}
        with mongo_errors():
            create = self._transactions.create_index
            await create([("purchase_order", 1), ("place", 1)], name="place", unique=True)
            await create([("claim", 1)], name="claim", unique=True, sparse=True)
            await create([("site", 1), ("created_us", -1), ("_id", -1)], name="listed")
            await create([("site", 1), ("client_order_number", 1), ("created_us", -1), ("_id", -1)], name="numbered")
            await create([("due_us", 1)], name="due", partialFilterExpression=is_open)
            await create([("waits", 1)], name="waits", partialFilterExpression=is_open)
            await create([("created_us", 1)], name="oldest", partialFilterExpression=is_open)
            await create([("purchase_order", 1)], name="owing", partialFilterExpression=owes)

    async def add(self, transaction: Transaction) -> Added:
        """Store it, durably, with the event that it was placed."""
        document = documents.transaction_document(transaction)
        document[outbox.FIELD] = outbox.to_outbox_field([self._events.placed(transaction)])
        try:
            with mongo_errors():
                await self._transactions.insert_one(document)
        except DuplicateKeyError as error:
            return _taken(error)
        self._announce()
        return Added.ADDED

    async def find(self, transaction_id: str) -> Transaction | None:
        """The transaction."""
        return await self._one(self._transactions, {"_id": transaction_id, "site": {"$exists": True}})

    async def shown(self, site: int, transaction_id: str) -> Transaction | None:
        """The customer's transaction, as a majority has it."""
        return await self._one(self._shown, {"_id": transaction_id, "site": site})

    async def with_number(self, site: int, number: str) -> Transaction | None:
        """The customer's first one with this order number, as a majority has it."""
        where = {"site": site, "client_order_number": number}
        return await self._one(self._shown, where, sort=[("created_us", 1), ("_id", 1)])

    async def save(self, transaction: Transaction) -> bool:
        """Store new counts with their event; False if another version than the one before it is stored."""
        guard, update = documents.transaction_change(transaction.version - 1, transaction)
        update |= outbox.outbox_push([self._events.counted(transaction, self._now_us())])
        with mongo_errors():
            done = await self._transactions.update_one(guard, update)
        if done.matched_count:
            self._announce()
        return bool(done.matched_count)

    async def postpone(self, transaction: Transaction, *, due_us: int) -> None:
        """Look at it again then."""
        with mongo_errors():
            await self._transactions.update_one(
                {"_id": transaction.id, "open": True}, {"$set": {"due_us": due_us}, "$inc": {"tries": 1}}
            )

    async def claim_due(self, *, most: int, lease_us: int) -> Sequence[str]:
        """The ids of pending transactions whose time has come; nobody else gets them while the lease lasts."""
        now_us = self._now_us()
        claimed = []
        with mongo_errors():
            where = {"open": True, "due_us": {"$lte": now_us}}
            found = await self._transactions.find(where, {"due_us": 1}).sort("due_us", 1).limit(most).to_list(None)
            for one in found:
                guard = {"_id": one["_id"], "open": True, "due_us": one["due_us"]}
                done = await self._transactions.update_one(guard, {"$set": {"due_us": now_us + lease_us}})
                if done.matched_count:
                    claimed.append(str(one["_id"]))
        return claimed

    async def wake(self, sku: str) -> None:
        """New stock: those that wait for this product are due, the oldest first."""
        with mongo_errors():
            await self._transactions.update_many(
                {"open": True, "waits": sku}, [{"$set": {"due_us": "$created_us", "tries": 0}}]
            )

    async def pending(self) -> tuple[int, int | None]:
        """How many are pending, and since when the oldest is."""
        with mongo_errors():
            count = await self._transactions.count_documents({"open": True}, hint="oldest")
            oldest = await self._transactions.find_one({"open": True}, {"created_us": 1}, sort=[("created_us", 1)])
        return count, oldest and oldest["created_us"]

    async def waiting(self, sku: str) -> int:
        """How many transactions wait for codes of this product."""
        with mongo_errors():
            return int(await self._transactions.count_documents({"open": True, "waits": sku}, hint="waits"))

    async def on_order(self, order_id: str) -> Sequence[Transaction]:
        """All transactions of a purchase order, by their places."""
        where = {"purchase_order": order_id, "site": {"$exists": True}}
        # In lots: who reads a day with very many must let others have their turn.
        lots = self._transactions.find(where, _UNSHOWN).sort("place", 1).batch_size(LOT)
        with mongo_errors():
            return [documents.transaction_of(document) async for document in lots]

    async def sums(self, order_id: str) -> Sums:
        """What stands on a purchase order, added up where it is kept: a day may have more than fits into memory."""
        (found,) = await self._mongo.aggregate(self._shown, _adding_up(order_id))
        return documents.sums_of(found)

    async def free_places(self, order: PurchaseOrder) -> Sequence[int]:
        """Places that were given and on which nothing stands."""
        with mongo_errors():
            if await self._transactions.count_documents({"purchase_order": order.id}) == order.places:
                return []
            found = await self._transactions.find({"purchase_order": order.id}, {"_id": 0, "place": 1}).to_list(None)
        taken = {document["place"] for document in found}
        return [place for place in range(1, order.places + 1) if place not in taken]

    async def block(self, order_id: str, place: int) -> None:
        """Let nothing stand on this place any more, unless something does."""
        blocker = {"_id": f"{order_id}:{place}", "purchase_order": order_id, "place": place}
        try:
            with mongo_errors():
                await self._transactions.insert_one(blocker)
        except DuplicateKeyError:
            return

    async def owing(self) -> Mapping[str, Sequence[str]]:
        """Purchase orders with cancellations that are not accounted for, and the days of these."""
        days = {"$addToSet": "$cancellations.on"}
        steps: list[dict[str, Any]] = [
            {"$match": {"owes": True}},
            {"$unwind": "$cancellations"},
            {"$group": {"_id": "$purchase_order", "days": days}},
        ]
        found = await self._mongo.aggregate(self._transactions, steps, hint="owing")
        return {one["_id"]: sorted(one["days"]) for one in found}

    async def settled(self, transaction: Transaction) -> None:
        """Its cancellations, as far as this version knows them, are all accounted for."""
        with mongo_errors():
            await self._transactions.update_one(
                {"_id": transaction.id, "version": transaction.version, "owes": True}, {"$unset": {"owes": ""}}
            )

    async def listed(self, asked: TransactionsAsked) -> Sequence[Transaction]:
        """A page and one more, newest first."""
        newest_first = [("created_us", -1), ("_id", -1)]
        with mongo_errors():
            found = (
                await self._shown.find(_where(asked), _UNSHOWN).sort(newest_first).limit(asked.rows + 1).to_list(None)
            )
        return [documents.transaction_of(document) for document in found]

    async def _one(self, collection: Any, where: dict[str, Any], **how: Any) -> Transaction | None:
        with mongo_errors():
            found = await collection.find_one(where, _UNSHOWN, **how)
        return None if found is None else documents.transaction_of(found)


def _taken(error: DuplicateKeyError) -> Added:
    """Which of the unique indexes refused it."""
    (first, *_) = (error.details or {}).get("keyPattern", {"_id": 1})
    return {"_id": Added.THERE, "claim": Added.NUMBER_TAKEN, "purchase_order": Added.PLACE_TAKEN}[first]


def _adding_up(order_id: str) -> list[dict[str, Any]]:
    """Adds up what stands on a purchase order as `domain.sums.merged` does."""
    counts = {name: {"$sum": f"$lines.{field}"} for name, field in _COUNTED}
    first = {"name": {"$first": "$lines.name"}, "place": {"$first": "$place"}, "number": {"$first": "$number"}}
    lines: list[dict[str, Any]] = [
        {"$unwind": {"path": "$lines", "includeArrayIndex": "number"}},
        {"$group": {"_id": {"sku": "$lines.sku", "unit_price": "$lines.unit_price"}, **first, **counts}},
        {"$sort": {"place": 1, "number": 1}},
    ]
    return [
        {"$match": {"purchase_order": order_id, "site": {"$exists": True}}},
        {"$sort": {"place": 1}},
        {"$facet": {"lines": lines, "counted": [{"$count": "transactions"}]}},
    ]


def _where(asked: TransactionsAsked) -> dict[str, Any]:
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
        at_us = int(asked.after.sort)
        created["$lte"] = min(at_us, created.pop("$lt", at_us + 1) - 1)
        where["$or"] = [{"created_us": {"$lt": at_us}}, {"_id": {"$lt": asked.after.id}}]
    if created:
        where["created_us"] = created
    return where
