"""Invoices and credit notes in MongoDB. They are written once and never changed."""

from collections.abc import Callable, Sequence
from typing import Any

from pymongo.errors import DuplicateKeyError
from pymongo.read_concern import ReadConcern

from services.chassis.mongodb import outbox
from services.chassis.mongodb.client import Mongo, mongo_errors
from services.fulfilment.domain.invoice import Invoice
from services.fulfilment.domain.listing import InvoiceQuery
from services.fulfilment.ports import InsertResult
from services.fulfilment.wire import documents
from services.fulfilment.wire.events import EventCodec

INVOICES = "invoices"
_UNSHOWN = {outbox.FIELD: 0}


class MongoInvoiceStore:
    """The invoices' store. `announce` is called when there is something in the outbox."""

    def __init__(self, mongo: Mongo, events: EventCodec, *, on_outbox_write: Callable[[], None]) -> None:
        self._invoices = documents.with_decimals(mongo.collection(INVOICES))
        self._shown = self._invoices.with_options(read_concern=ReadConcern("majority"))
        self._events = events
        self._announce = on_outbox_write

    async def create_indexes(self) -> None:
        """Make the indexes; raises `Away`."""
        with mongo_errors():
            create = self._invoices.create_index
            await create([("site", 1), ("year", 1), ("number", -1)], name="series", unique=True)
            await create([("purchase_order", 1), ("sequence", 1)], name="sequence", unique=True)
            await create([("site", 1), ("business_date", -1), ("_id", -1)], name="listed")

    async def last_number(self, site: int, year: int) -> int:
        """The greatest number of the series; 0 if it has none."""
        with mongo_errors():
            found = await self._invoices.find_one(
                {"site": site, "year": year}, {"number": 1}, sort=[("site", 1), ("year", 1), ("number", -1)]
            )
        return int(found["number"]) if found else 0

    async def add(self, invoice: Invoice) -> InsertResult:
        """Store it, durably, with its event and its mail."""
        document = documents.invoice_document(invoice)
        document[outbox.FIELD] = outbox.to_outbox_field(self._events.invoice_issued(invoice))
        try:
            with mongo_errors():
                await self._invoices.insert_one(document)
        except DuplicateKeyError as error:
            met = (error.details or {}).get("keyPattern", {})
            return InsertResult.NUMBER_TAKEN if "number" in met else InsertResult.EXISTS
        self._announce()
        return InsertResult.INSERTED

    async def list_by_purchase_order(self, order_id: str) -> Sequence[Invoice]:
        """What was issued for a purchase order, in turn."""
        with mongo_errors():
            found = await self._invoices.find({"purchase_order": order_id}, _UNSHOWN).sort("sequence", 1).to_list(None)
        return [documents.invoice_from_document(document) for document in found]

    async def find_page(self, query: InvoiceQuery) -> Sequence[Invoice]:
        """A page and one more, newest first."""
        newest_first = [("business_date", -1), ("_id", -1)]
        with mongo_errors():
            found = (
                await self._shown.find(_where(query), _UNSHOWN).sort(newest_first).limit(query.rows + 1).to_list(None)
            )
        return [documents.invoice_from_document(document) for document in found]

    async def find(self, invoice_id: str) -> Invoice | None:
        """The document."""
        with mongo_errors():
            found = await self._shown.find_one({"_id": invoice_id}, _UNSHOWN)
        return None if found is None else documents.invoice_from_document(found)


def _where(asked: InvoiceQuery) -> dict[str, Any]:
    where: dict[str, Any] = {"site": asked.site}
    day: dict[str, str] = {}
    if asked.from_date is not None:
        day["$gte"] = asked.from_date
    if asked.to_date is not None:
        day["$lte"] = asked.to_date
    if day:
        where["business_date"] = day
    if asked.after is not None:
        shown = str(asked.after.sort_key)
        where["$or"] = [
            {"business_date": {"$lt": shown}},
            {"business_date": shown, "_id": {"$lt": asked.after.id}},
        ]
    return where
