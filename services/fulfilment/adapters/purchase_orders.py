"""Purchase orders in MongoDB: each is one document, which gives places while it is open."""

from collections.abc import Sequence

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from services.chassis.mongodb.client import Mongo, mongo_errors
from services.fulfilment.domain.purchase_order import PurchaseOrder, PurchaseOrderState
from services.fulfilment.wire import documents

PURCHASE_ORDERS = "purchase_orders"


class MongoPurchaseOrderStore:
    """The purchase orders' store."""

    def __init__(self, mongo: Mongo) -> None:
        self._orders = mongo.collection(PURCHASE_ORDERS)

    async def create_indexes(self) -> None:
        """Make the indexes; raises `Away`."""
        with mongo_errors():
            await self._orders.create_index([("site", 1), ("business_date", -1), ("_id", 1)])
            await self._orders.create_index([("state", 1), ("business_date", 1)])

    async def reserve_sequence(self, order: PurchaseOrder) -> int | None:
        """A place on it, opening it if need be; None if it takes no more."""
        new = {"site": order.site, "business_date": order.business_date, "currency": order.currency}
        is_open, one_more = {"_id": order.id, "state": PurchaseOrderState.OPEN}, {"$inc": {"last_sequence": 1}}
        with mongo_errors():
            try:
                found = await self._orders.find_one_and_update(
                    is_open, one_more | {"$setOnInsert": new}, upsert=True, return_document=ReturnDocument.AFTER
                )
            except DuplicateKeyError:
                # It is there: made by another first order just now, or closed.
                found = await self._orders.find_one_and_update(is_open, one_more, return_document=ReturnDocument.AFTER)
        return None if found is None else int(found["last_sequence"])

    async def find(self, order_id: str) -> PurchaseOrder | None:
        """The purchase order."""
        with mongo_errors():
            found = await self._orders.find_one({"_id": order_id})
        return None if found is None else documents.purchase_order_from_document(found)

    async def list_by_day(self, site: int, day: str) -> Sequence[PurchaseOrder]:
        """The customer's purchase orders of one day."""
        with mongo_errors():
            found = await self._orders.find({"site": site, "business_date": day}).sort("_id", 1).to_list(None)
        return [documents.purchase_order_from_document(document) for document in found]

    async def unclosed(self, *, until: str) -> Sequence[PurchaseOrder]:
        """All that are not closed and whose day is not after `until`, oldest first."""
        where = {
            "state": {"$in": [PurchaseOrderState.OPEN, PurchaseOrderState.CLOSING]},
            "business_date": {"$lte": until},
        }
        with mongo_errors():
            found = await self._orders.find(where).sort([("business_date", 1), ("_id", 1)]).to_list(None)
        return [documents.purchase_order_from_document(document) for document in found]

    async def begin_closing(self, order_id: str) -> PurchaseOrder | None:
        """Let it take no more; the purchase order as it is from now on, None if it is closed already."""
        unclosed = {"_id": order_id, "state": {"$in": [PurchaseOrderState.OPEN, PurchaseOrderState.CLOSING]}}
        with mongo_errors():
            found = await self._orders.find_one_and_update(
                unclosed, {"$set": {"state": PurchaseOrderState.CLOSING}}, return_document=ReturnDocument.AFTER
            )
        return None if found is None else documents.purchase_order_from_document(found)

    async def finish_closing(self, order_id: str) -> None:
        """It has its invoice, or needs none."""
        with mongo_errors():
            await self._orders.update_one(
                {"_id": order_id, "state": PurchaseOrderState.CLOSING}, {"$set": {"state": PurchaseOrderState.CLOSED}}
            )
