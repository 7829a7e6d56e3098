"""Invoices and credit notes in MongoDB, written once and never changed."""

from collections.abc import Callable, Sequence
from typing import Any

from pymongo.errors import DuplicateKeyError
from pymongo.read_concern import ReadConcern

from services.chassis.mongodb import outbox
from services.chassis.mongodb.client import Mongo, create_index, create_unique_index, fetch_all, mongo_errors
from services.fulfilment.domain.invoice import Invoice
from services.fulfilment.domain.listing import InvoiceQuery
from services.fulfilment.ports import InsertResult, InvoiceStore
from services.fulfilment.wire import documents
from services.fulfilment.wire.events import EventCodec

INVOICES = "invoices"
_WITHOUT_OUTBOX = {outbox.FIELD: 0}


class MongoInvoiceStore(InvoiceStore):
    """Stores invoices with their events. `on_outbox_write` is called after each write to the outbox."""

    def __init__(self, mongo: Mongo, codec: EventCodec, *, on_outbox_write: Callable[[], None]) -> None:
        self._invoices = documents.with_decimals(mongo.collection(INVOICES))
        # A failing primary may roll back what only it has: it does not count as issued.
        self._majority = self._invoices.with_options(read_concern=ReadConcern("majority"))
        self._codec = codec
        self._on_outbox_write = on_outbox_write

    async def create_indexes(self) -> None:
        """Create the indexes; raises `UnavailableError`."""
        number = [("site", 1), ("year", 1), ("number", -1)]
        await create_unique_index(self._invoices, number, name="number")
        await create_unique_index(self._invoices, [("purchase_order", 1), ("sequence", 1)], name="sequence")
        await create_index(self._invoices, [("site", 1), ("business_date", -1), ("_id", -1)], name="newest")

    async def last_number(self, site: int, year: int) -> int:
        with mongo_errors():
            found = await self._majority.find_one(
                {"site": site, "year": year}, {"number": 1}, sort=[("site", 1), ("year", 1), ("number", -1)]
            )
        return int(found["number"]) if found else 0

    async def add(self, invoice: Invoice) -> InsertResult:
        document = documents.invoice_document(invoice)
        document[outbox.FIELD] = outbox.to_outbox_field(self._codec.invoice_issued(invoice))
        try:
            with mongo_errors():
                await self._invoices.insert_one(document)
        except DuplicateKeyError as error:
            key = (error.details or {}).get("keyPattern", {})
            return InsertResult.NUMBER_TAKEN if "number" in key else InsertResult.EXISTS
        self._on_outbox_write()
        return InsertResult.INSERTED

    async def list_by_purchase_order(self, order_id: str) -> Sequence[Invoice]:
        found = await fetch_all(self._majority.find({"purchase_order": order_id}, _WITHOUT_OUTBOX).sort("sequence", 1))
        return [documents.invoice_from_document(document) for document in found]

    async def find_page(self, query: InvoiceQuery) -> Sequence[Invoice]:
        newest_first = [("business_date", -1), ("_id", -1)]
        cursor = self._majority.find(_filter(query), _WITHOUT_OUTBOX).sort(newest_first).limit(query.rows + 1)
        found = await fetch_all(cursor)
        return [documents.invoice_from_document(document) for document in found]

    async def find(self, invoice_id: str) -> Invoice | None:
        with mongo_errors():
            found = await self._majority.find_one({"_id": invoice_id}, _WITHOUT_OUTBOX)
        return None if found is None else documents.invoice_from_document(found)


def _filter(query: InvoiceQuery) -> dict[str, Any]:
    conditions: dict[str, Any] = {"site": query.site}
    if date_range := documents.without_none({"$gte": query.from_date, "$lte": query.to_date}):
        conditions["business_date"] = date_range
    if query.after is not None:
        last_date = str(query.after.sort_key)
        conditions["$or"] = [
            {"business_date": {"$lt": last_date}},
            {"business_date": last_date, "_id": {"$lt": query.after.id}},
        ]
    return conditions
