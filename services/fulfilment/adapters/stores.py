"""Fulfilment's stores on one MongoDB database."""

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
    """Do nothing: the relay of another process finds the messages by polling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """All stores."""

    products: MongoProductStore
    stock: MongoStockStore
    purchase_orders: MongoPurchaseOrderStore
    transactions: MongoTransactionStore
    invoices: MongoInvoiceStore

    @classmethod
    def build(
        cls, mongo: Mongo, codec: EventCodec, *, now_us: Callable[[], int], on_outbox_write: Callable[[], None] = no_op
    ) -> Self:
        """Build the stores; `on_outbox_write` is called after each write to the outbox."""
        return cls(
            products=MongoProductStore(mongo),
            stock=MongoStockStore(mongo),
            purchase_orders=MongoPurchaseOrderStore(mongo),
            transactions=MongoTransactionStore(mongo, codec, now_us=now_us, on_outbox_write=on_outbox_write),
            invoices=MongoInvoiceStore(mongo, codec, on_outbox_write=on_outbox_write),
        )

    async def create_indexes(self) -> None:
        """Create the indexes; raises `UnavailableError`."""
        for store in (self.stock, self.purchase_orders, self.transactions, self.invoices):
            await store.create_indexes()
