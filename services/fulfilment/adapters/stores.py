"""All of fulfilment's stores, on one database."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from services.chassis.mongodb.client import Mongo
from services.fulfilment.adapters.invoices import MongoInvoiceStore
from services.fulfilment.adapters.products import MongoProductStore
from services.fulfilment.adapters.purchase_orders import MongoPurchaseOrderStore
from services.fulfilment.adapters.stock import MongoStockStore
from services.fulfilment.adapters.transactions import MongoTransactionStore
from services.fulfilment.wire.events import EventCodec


def no_op() -> None:
    """Whoever relays what is in the outbox finds it without being told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """Everything that is kept."""

    products: MongoProductStore
    stock: MongoStockStore
    purchase_orders: MongoPurchaseOrderStore
    transactions: MongoTransactionStore
    invoices: MongoInvoiceStore

    @classmethod
    def build(
        cls, mongo: Mongo, events: EventCodec, *, now_us: Callable[[], int], on_outbox_write: Callable[[], None] = no_op
    ) -> Self:
        """The stores; `announce` is called when there is something in the outbox."""
        return cls(
            products=MongoProductStore(mongo),
            stock=MongoStockStore(mongo),
            purchase_orders=MongoPurchaseOrderStore(mongo),
            transactions=MongoTransactionStore(mongo, events, now_us=now_us, on_outbox_write=on_outbox_write),
            invoices=MongoInvoiceStore(mongo, events, on_outbox_write=on_outbox_write),
        )

    async def create_indexes(self) -> None:
        """Make the indexes; raises `Away`."""
        for store in (self.stock, self.purchase_orders, self.transactions, self.invoices):
            await store.create_indexes()
