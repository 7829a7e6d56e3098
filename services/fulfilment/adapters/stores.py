"""All of fulfilment's stores, on one database."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from services.chassis.mongodb.client import Mongo
from services.fulfilment.adapters.invoices import MongoInvoices
from services.fulfilment.adapters.products import MongoProducts
from services.fulfilment.adapters.purchase_orders import MongoPurchaseOrders
from services.fulfilment.adapters.stock import MongoStock
from services.fulfilment.adapters.transactions import MongoTransactions
from services.fulfilment.wire.events import Events


def nobody() -> None:
    """Whoever relays what is in the outbox finds it without being told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """Everything that is kept."""

    products: MongoProducts
    stock: MongoStock
    purchase_orders: MongoPurchaseOrders
    transactions: MongoTransactions
    invoices: MongoInvoices

    @classmethod
    def on(
        cls, mongo: Mongo, events: Events, *, now_us: Callable[[], int], announce: Callable[[], None] = nobody
    ) -> Self:
        """The stores; `announce` is called when there is something in the outbox."""
        return cls(
            products=MongoProducts(mongo),
            stock=MongoStock(mongo),
            purchase_orders=MongoPurchaseOrders(mongo),
            transactions=MongoTransactions(mongo, events, now_us=now_us, announce=announce),
            invoices=MongoInvoices(mongo, events, announce=announce),
        )

    async def create_indexes(self) -> None:
        """Make the indexes; raises `Away`."""
        for store in (self.stock, self.purchase_orders, self.transactions, self.invoices):
            await store.prepare()
