"""A process that sells: places and fulfils orders and closes days, until it is done or dies at a failpoint.

`python -m tests.fulfilment.till URI DATABASE WORK NOW_US`; WORK is `order:<id>`, `fulfil:<id>` or `close`.
"""

import asyncio
import sys

from services.chassis.mongo import Mongo
from services.chassis.settings import MongoSettings
from services.fulfilment.events import Events
from services.fulfilment.invoices import MongoInvoices
from services.fulfilment.products import MongoProducts
from services.fulfilment.purchase_orders import MongoPurchaseOrders
from services.fulfilment.stock import MongoStock
from services.fulfilment.store import MongoTransactions
from tests.fulfilment.shop import SCHEMAS, Clock, Shop


async def main(uri: str, database: str, work: str, now_us: int) -> None:
    mongo = Mongo.connect(MongoSettings(mongodb_uri=uri, mongodb_database=database))
    clock, events = Clock(now_us), Events(SCHEMAS)
    shop = Shop(
        products=MongoProducts(mongo),
        orders=MongoPurchaseOrders(mongo),
        transactions=MongoTransactions(mongo, events, now_us=clock, announce=lambda: None),
        stock=MongoStock(mongo),
        invoices=MongoInvoices(mongo, events, announce=lambda: None),
        clock=clock,
    )
    what, _, transaction_id = work.partition(":")
    if what == "order":
        # Whoever sends it again after a crash comes with the id that was reserved for it.
        await shop.place(("CARD", 2), transaction_id=transaction_id, is_retry=True)
    elif what == "fulfil":
        await shop.fulfil(transaction_id)
    else:
        await shop.close()
    await mongo.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
