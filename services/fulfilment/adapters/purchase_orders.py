"""Purchase orders in MongoDB: small documents that hand out sequence numbers while they are open (ADR 8)."""

from collections.abc import Sequence
from operator import attrgetter

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from services.chassis.mongodb.client import Mongo, create_index, fetch_all, mongo_errors
from services.fulfilment.adapters.batcher import Batcher
from services.fulfilment.domain.purchase_order import PurchaseOrder, PurchaseOrderState
from services.fulfilment.ports import PurchaseOrderStore
from services.fulfilment.wire.documents import from_bson

PURCHASE_ORDERS = "purchase_orders"
_UNCLOSED = {"$in": [PurchaseOrderState.OPEN, PurchaseOrderState.CLOSING]}


class MongoPurchaseOrderStore(PurchaseOrderStore):
    """Stores purchase orders."""

    def __init__(self, mongo: Mongo) -> None:
        self._orders = mongo.collection(PURCHASE_ORDERS)
        self._reservations = Batcher(self._reserve_sequences, key=attrgetter("id"))

    async def create_indexes(self) -> None:
        """Create the indexes; raises `UnavailableError`."""
        await create_index(self._orders, [("site", 1), ("business_date", -1), ("_id", 1)])
        await create_index(self._orders, [("state", 1), ("business_date", 1)])

    async def reserve_sequence(self, order: PurchaseOrder) -> int | None:
        return await self._reservations.submit(order)

    async def _reserve_sequences(self, orders: Sequence[PurchaseOrder]) -> Sequence[int | None]:
        """Reserve consecutive numbers of one purchase order; all None if it is not open."""
        order, count = orders[0], len(orders)
        new = {"site": order.site, "business_date": order.business_date, "currency": order.currency}
        is_open, increment = {"_id": order.id, "state": PurchaseOrderState.OPEN}, {"$inc": {"last_sequence": count}}
        with mongo_errors():
            try:
                found = await self._orders.find_one_and_update(
                    is_open, increment | {"$setOnInsert": new}, upsert=True, return_document=ReturnDocument.AFTER
                )
            except DuplicateKeyError:
                # It exists: a concurrent order has just created it, or it is closed.
                found = await self._orders.find_one_and_update(is_open, increment, return_document=ReturnDocument.AFTER)
        if found is None:
            return [None] * count
        last = int(found["last_sequence"])
        return range(last - count + 1, last + 1)

    async def find(self, order_id: str) -> PurchaseOrder | None:
        with mongo_errors():
            found = await self._orders.find_one({"_id": order_id})
        return None if found is None else from_bson(found, PurchaseOrder)

    async def list_by_day(self, site: int, day: str) -> Sequence[PurchaseOrder]:
        found = await fetch_all(self._orders.find({"site": site, "business_date": day}).sort("_id", 1))
        return [from_bson(document, PurchaseOrder) for document in found]

    async def unclosed(self, *, until: str) -> Sequence[PurchaseOrder]:
        conditions = {"state": _UNCLOSED, "business_date": {"$lte": until}}
        found = await fetch_all(self._orders.find(conditions).sort([("business_date", 1), ("_id", 1)]))
        return [from_bson(document, PurchaseOrder) for document in found]

    async def begin_closing(self, order_id: str) -> PurchaseOrder | None:
        with mongo_errors():
            found = await self._orders.find_one_and_update(
                {"_id": order_id, "state": _UNCLOSED},
                {"$set": {"state": PurchaseOrderState.CLOSING}},
                return_document=ReturnDocument.AFTER,
            )
        return None if found is None else from_bson(found, PurchaseOrder)

    async def finish_closing(self, order_id: str) -> None:
        closing = {"_id": order_id, "state": PurchaseOrderState.CLOSING}
        with mongo_errors():
            await self._orders.update_one(closing, {"$set": {"state": PurchaseOrderState.CLOSED}})
