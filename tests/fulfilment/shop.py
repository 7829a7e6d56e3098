"""A whole shop for tests: customers, products, stores of either kind, and the flows bound to them."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

from services.chassis.avro.schemas import Schemas
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.settings import REPOSITORY, MongoSettings
from services.fulfilment.adapters.code_cipher import CodeVault
from services.fulfilment.adapters.stores import Stores, nobody
from services.fulfilment.adapters.suppliers import suppliers_of
from services.fulfilment.domain.code import Code
from services.fulfilment.domain.customer import Customer
from services.fulfilment.domain.invoice import Party
from services.fulfilment.domain.ordering import read_order
from services.fulfilment.domain.product import Product
from services.fulfilment.domain.transaction import Transaction
from services.fulfilment.flows import close_day, deliver_codes, get_codes, place_order
from services.fulfilment.flows.place_order import Order, Placed
from services.fulfilment.flows.supplier_log import Complaints
from services.fulfilment.ports import Supplier
from services.fulfilment.wire.events import Events
from tests.fulfilment.memory import (
    Chance,
    MemoryInvoices,
    MemoryProducts,
    MemoryPurchaseOrders,
    MemoryStock,
    MemoryTransactions,
)

SCHEMAS = Schemas.load(REPOSITORY / "schemas")
OPENAPI = Path(REPOSITORY / "schemas" / "openapi" / "fulfilment.yaml")
SITE, OTHER_SITE = 608, 609
CURRENCIES = frozenset({"USD", "EUR"})
VAULT = CodeVault([b"k" * 32], b"d" * 32)
US = 1_000_000
PRODUCTS = [
    Product(sku="CARD", name="Card", unit_price=Decimal("9.99"), currency="USD"),
    Product(sku="PENNY", name="Penny", unit_price=Decimal("0.000001"), currency="USD"),
    Product(sku="CARD-EUR", name="Karte", unit_price=Decimal(20), currency="EUR"),
    Product(sku="GONE", name="Gone", unit_price=Decimal(1), currency="USD", is_withdrawn=True),
    *(
        Product(sku=sku, name=sku, unit_price=Decimal(10), currency="USD", supplier="simulated")
        for sku in ("DEMO-INSTANT", "DEMO-TRICKLE", "DEMO-NEVER", "DEMO-CANCEL")
    ),
]


def at(text: str, zone: str = "UTC") -> int:
    """Microseconds of a local time in a zone."""
    local = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))
    return (local.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


@dataclass
class Clock:
    """The time, as a test sets it."""

    now_us: int = field(default_factory=lambda: at("2026-03-04T12:00:00"))

    def __call__(self) -> int:
        return self.now_us

    def pass_(self, **spans: float) -> None:
        self.now_us += timedelta(**spans) // timedelta(microseconds=1)


class Register:
    """Customers by number."""

    def __init__(self) -> None:
        self.zones: dict[int, tzinfo] = {SITE: ZoneInfo("UTC"), OTHER_SITE: ZoneInfo("UTC")}
        self.emails: dict[int, str] = {}

    def get(self, site: int) -> Customer | None:
        zone = self.zones.get(site)
        return None if zone is None else Customer(zone, Party(site, f"Customer {site}", self.emails.get(site)))


@dataclass
class Shop:
    """Stores and flows."""

    products: Any
    orders: Any
    transactions: Any
    stock: Any
    invoices: Any
    clock: Clock
    mongo: Mongo | None = None
    register: Register = field(default_factory=Register)
    deadline: timedelta = timedelta(days=7)

    @property
    def placing(self) -> place_order.World:
        return place_order.World(
            products=self.products,
            purchase_orders=self.orders,
            transactions=self.transactions,
            now_us=self.clock,
            deadline=self.deadline,
        )

    @property
    def suppliers(self) -> Mapping[str, Supplier]:
        return suppliers_of(self.stock, VAULT.seal, is_simulated=True)

    @property
    def fulfilling(self) -> deliver_codes.World:
        return deliver_codes.World(
            transactions=self.transactions,
            slots=self.stock,
            suppliers=self.suppliers,
            customers=self.register,
            complaints=Complaints(self.clock),
            now_us=self.clock,
        )

    @property
    def billing(self) -> close_day.World:
        return close_day.World(
            purchase_orders=self.orders,
            transactions=self.transactions,
            invoices=self.invoices,
            customers=self.register,
            now_us=self.clock,
        )

    @property
    def reading(self) -> get_codes.World:
        return get_codes.World(
            transactions=self.transactions,
            disclosed=self.stock,
            nudge=self.fulfil,
            open_code=VAULT.open,
        )

    async def place(
        self,
        *lines: tuple[str, int],
        site: int = SITE,
        transaction_id: str | None = None,
        is_retry: bool = False,
        **more: Any,
    ) -> Placed:
        body = {"products": [{"sku": sku, "quantity": quantity} for sku, quantity in lines], **more}
        customer = self.register.get(site)
        assert customer is not None
        return await place_order.place(
            Order(
                transaction_id=transaction_id or str(uuid4()),
                site=site,
                client_id="client",
                customer=customer,
                wanted=read_order(body),
                received_us=self.clock(),
                is_retry=is_retry,
            ),
            self.placing,
        )

    async def fulfil(self, transaction_id: str) -> Transaction | None:
        return await deliver_codes.fulfil(transaction_id, self.fulfilling)

    async def load(self, sku: str, *codes: str) -> int:
        added: int = await self.stock.load(sku, [VAULT.seal(sku, Code(code)) for code in codes])
        return added

    async def codes(self, transaction_id: str, site: int = SITE) -> dict[str, str]:
        """Codes by stock id, as the owner is shown them."""
        found = await get_codes.get_codes(site, transaction_id, None, self.reading)
        assert found is not None
        return {unit.stock_id: unit.redeem_code for units in found.lines.values() for unit in units if unit.redeem_code}

    async def close(self) -> None:
        await close_day.settle(self.billing)


def a_memory_shop(chance: Chance | None = None, **bugs: Any) -> Shop:
    chance, clock = chance or Chance(), Clock()
    shop = Shop(
        products=MemoryProducts(chance),
        orders=MemoryPurchaseOrders(chance),
        transactions=MemoryTransactions(chance, clock),
        stock=MemoryStock(chance, **bugs),
        invoices=MemoryInvoices(chance),
        clock=clock,
    )
    shop.products.products = {product.sku: product for product in PRODUCTS}
    return shop


def on_database(mongo: Mongo, clock: Clock, announce: Callable[[], None] = nobody) -> Shop:
    stores = Stores.on(mongo, Events(SCHEMAS), now_us=clock, announce=announce)
    return Shop(
        products=stores.products,
        orders=stores.purchase_orders,
        transactions=stores.transactions,
        stock=stores.stock,
        invoices=stores.invoices,
        clock=clock,
        mongo=mongo,
    )


@asynccontextmanager
async def a_mongo_shop(uri: str, driver: str, announce: Callable[[], None] = nobody) -> AsyncIterator[Shop]:
    """On a database of its own."""
    settings = MongoSettings(mongodb_uri=uri, mongodb_database=f"t{uuid4().hex[:12]}", mongo_driver=driver)
    mongo, clock = Mongo.connect(settings), Clock()
    shop = on_database(mongo, clock, announce)
    try:
        for store in (shop.orders, shop.transactions, shop.stock, shop.invoices):
            await store.prepare()
        for product in PRODUCTS:
            await shop.products.put(product)
        yield shop
        await mongo.client.drop_database(settings.mongodb_database)
    finally:
        await mongo.close()
