"""Invoices and credit notes in MongoDB. They are written once and never changed."""

from collections.abc import Callable, Sequence
from typing import Any

from pymongo.errors import DuplicateKeyError
from pymongo.read_concern import ReadConcern

from services.chassis.mongodb import outbox
from services.chassis.mongodb.client import Mongo, mongo_errors
from services.fulfilment.domain.invoice import Invoice
from services.fulfilment.domain.listing import InvoicesAsked
from services.fulfilment.ports import Added
from services.fulfilment.wire import documents
from services.fulfilment.wire.events import Events

INVOICES = "invoices"
_UNSHOWN = {outbox.FIELD: 0}


class MongoInvoices:
    """The invoices' store. `announce` is called when there is something in the outbox."""

    def __init__(self, mongo: Mongo, events: Events, *, announce: Callable[[], None]) -> None:
        self._invoices = documents.with_amounts(mongo.collection(INVOICES))
        self._shown = self._invoices.with_options(read_concern=ReadConcern("majority"))
        self._events = events
        self._announce = announce

    async def prepare(self) -> None:
        """Make the indexes; raises `Away`."""
        with mongo_errors():
            create = self._invoices.create_index
            await create([("site", 1), ("year", 1), ("number", -1)], name="series", unique=True)
            await create([("purchase_order", 1), ("turn", 1)], name="turn", unique=True)
            await create([("site", 1), ("business_date", -1), ("_id", -1)], name="listed")

    async def last_number(self, site: int, year: int) -> int:
        """The greatest number of the series; 0 if it has none."""
        with mongo_errors():
            found = await self._invoices.find_one(
                {"site": site, "year": year}, {"number": 1}, sort=[("site", 1), ("year", 1), ("number", -1)]
            )
        return int(found["number"]) if found else 0

    async def add(self, invoice: Invoice) -> Added:
        """Store it, durably, with its event and its mail."""
        document = documents.invoice_document(invoice)
        document[outbox.FIELD] = outbox.to_outbox_field(self._events.issued(invoice))
        try:
            with mongo_errors():
                await self._invoices.insert_one(document)
        except DuplicateKeyError as error:
            met = (error.details or {}).get("keyPattern", {})
            return Added.NUMBER_TAKEN if "number" in met else Added.THERE
        self._announce()
        return Added.ADDED

    async def of_order(self, order_id: str) -> Sequence[Invoice]:
        """What was issued for a purchase order, in turn."""
        with mongo_errors():
            found = await self._invoices.find({"purchase_order": order_id}, _UNSHOWN).sort("turn", 1).to_list(None)
        return [documents.invoice_of(document) for document in found]

    async def listed(self, asked: InvoicesAsked) -> Sequence[Invoice]:
        """A page and one more, newest first."""
        newest_first = [("business_date", -1), ("_id", -1)]
        with mongo_errors():
            found = (
                await self._shown.find(_where(asked), _UNSHOWN).sort(newest_first).limit(asked.rows + 1).to_list(None)
            )
        return [documents.invoice_of(document) for document in found]

    async def find(self, invoice_id: str) -> Invoice | None:
        """The document."""
        with mongo_errors():
            found = await self._shown.find_one({"_id": invoice_id}, _UNSHOWN)
        return None if found is None else documents.invoice_of(found)


def _where(asked: InvoicesAsked) -> dict[str, Any]:
    where: dict[str, Any] = {"site": asked.site}
    day: dict[str, str] = {}
    if asked.from_on is not None:
        day["$gte"] = asked.from_on
    if asked.to_on is not None:
        day["$lte"] = asked.to_on
    if day:
        where["business_date"] = day
    if asked.after is not None:
        shown = str(asked.after.sort)
        where["$or"] = [
            {"business_date": {"$lt": shown}},
            {"business_date": shown, "_id": {"$lt": asked.after.id}},
        ]
    return where
