"""The flows of fulfilment with customers, products, a clock, and fake stores or MongoDB."""

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
from services.fulfilment.adapters.code_cipher import CodeCipher
from services.fulfilment.adapters.stores import Stores, no_op
from services.fulfilment.adapters.suppliers import build_suppliers
from services.fulfilment.domain.code import Code
from services.fulfilment.domain.customer import BillingDetails, Customer
from services.fulfilment.domain.invoice import Issuer
from services.fulfilment.domain.order_request import parse_order_request
from services.fulfilment.domain.product import Product
from services.fulfilment.domain.transaction import Transaction
from services.fulfilment.flows import close_day, fulfil, get_codes, load_stock, place_order
from services.fulfilment.flows.place_order import Order, PlacedOrder
from services.fulfilment.flows.supplier_log import SupplierLog
from services.fulfilment.ports import Supplier
from services.fulfilment.wire.events import EventCodec
from tests.fulfilment.fakes import (
    FakeInvoiceStore,
    FakeProductStore,
    FakePurchaseOrderStore,
    FakeStockStore,
    FakeTransactionStore,
    Interference,
)

SCHEMAS = Schemas.load(REPOSITORY / "schemas")
OPENAPI = Path(REPOSITORY / "schemas" / "openapi" / "fulfilment.yaml")
SITE, OTHER_SITE = 608, 609
CURRENCIES = frozenset({"USD", "EUR"})
CIPHER = CodeCipher([b"k" * 32], b"d" * 32)
SECOND_US = 1_000_000
ISSUER = Issuer(name="Us", address="1 Main St\nTown", tax_id="US-1", bank="IBAN XX12", terms="14 days")
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


def local_time_us(text: str, zone: str = "UTC") -> int:
    """Return a zone's local time in microseconds since 1970."""
    local = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))
    return (local.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


@dataclass
class Clock:
    """A clock that tests set."""

    now_us: int = field(default_factory=lambda: local_time_us("2026-03-04T12:00:00"))

    def __call__(self) -> int:
        return self.now_us

    def advance(self, **spans: float) -> None:
        self.now_us += timedelta(**spans) // timedelta(microseconds=1)


class FakeCustomers:
    """Customers by site, with configurable time zones and mail addresses."""

    def __init__(self) -> None:
        self.time_zones: dict[int, tzinfo] = {SITE: ZoneInfo("UTC"), OTHER_SITE: ZoneInfo("UTC")}
        self.emails: dict[int, str] = {}

    def get(self, site: int) -> Customer | None:
        zone = self.time_zones.get(site)
        billing = BillingDetails(site, f"Customer {site}", self.emails.get(site), "2 Side St\nVillage", "FR 12")
        return None if zone is None else Customer(zone, billing)


@dataclass
class Harness:
    """Stores, and the flows with them as their dependencies."""

    products: Any
    purchase_orders: Any
    transactions: Any
    stock: Any
    invoices: Any
    clock: Clock
    mongo: Mongo | None = None
    customers: FakeCustomers = field(default_factory=FakeCustomers)
    deadline: timedelta = timedelta(days=7)

    @property
    def place_order_deps(self) -> place_order.Deps:
        return place_order.Deps(
            products=self.products,
            purchase_orders=self.purchase_orders,
            transactions=self.transactions,
            now_us=self.clock,
            deadline=self.deadline,
        )

    @property
    def suppliers(self) -> Mapping[str, Supplier]:
        return build_suppliers(self.stock, CIPHER.seal, is_simulated=True)

    @property
    def fulfil_deps(self) -> fulfil.Deps:
        return fulfil.Deps(
            transactions=self.transactions,
            stock=self.stock,
            suppliers=self.suppliers,
            customers=self.customers,
            supplier_log=SupplierLog(self.clock),
            now_us=self.clock,
        )

    @property
    def close_day_deps(self) -> close_day.Deps:
        return close_day.Deps(
            purchase_orders=self.purchase_orders,
            transactions=self.transactions,
            invoices=self.invoices,
            customers=self.customers,
            issuer=ISSUER,
            now_us=self.clock,
        )

    @property
    def get_codes_deps(self) -> get_codes.Deps:
        return get_codes.Deps(
            transactions=self.transactions, stock=self.stock, try_fulfil=self.fulfil, open_code=CIPHER.open
        )

    @property
    def load_stock_deps(self) -> load_stock.Deps:
        return load_stock.Deps(
            products=self.products, stock=self.stock, transactions=self.transactions, seal=CIPHER.seal
        )

    async def place(
        self,
        *lines: tuple[str, int],
        site: int = SITE,
        transaction_id: str | None = None,
        is_retry: bool = False,
        **fields: Any,
    ) -> PlacedOrder:
        body = {"products": [{"sku": sku, "quantity": quantity} for sku, quantity in lines], **fields}
        customer = self.customers.get(site)
        assert customer is not None
        return await place_order.place_order(
            Order(
                transaction_id=transaction_id or str(uuid4()),
                site=site,
                client_id="client",
                customer=customer,
                request=parse_order_request(body),
                received_us=self.clock(),
                is_retry=is_retry,
            ),
            self.place_order_deps,
        )

    async def fulfil(self, transaction_id: str) -> Transaction | None:
        return await fulfil.fulfil(transaction_id, self.fulfil_deps)

    async def load(self, sku: str, *codes: str) -> int:
        sealed = [CIPHER.seal(sku, Code(code)) for code in codes]
        added: int = await self.stock.load(sku, sealed, batch_id="batch")
        return added

    async def find_codes(
        self, transaction_id: str, site: int = SITE, *, sku: str | None = None, deps: get_codes.Deps | None = None
    ) -> get_codes.TransactionCodes | None:
        """Try to fulfil the transaction, then return its units as the API does; None if it is not the customer's."""
        deps = deps or self.get_codes_deps
        transaction = await get_codes.find_transaction(site, transaction_id, deps)
        return None if transaction is None else await get_codes.read_codes(transaction, sku, deps)

    async def get_codes(self, transaction_id: str, site: int = SITE) -> dict[str, str]:
        """Return the disclosed codes by stock id."""
        found = await self.find_codes(transaction_id, site)
        assert found is not None
        return {unit.stock_id: unit.redeem_code for units in found.lines.values() for unit in units if unit.redeem_code}

    async def close_days(self) -> None:
        await close_day.close_and_credit(self.close_day_deps)


def build_memory_harness(interference: Interference | None = None, **bugs: Any) -> Harness:
    interference, clock = interference or Interference(), Clock()
    harness = Harness(
        products=FakeProductStore(),
        purchase_orders=FakePurchaseOrderStore(interference),
        transactions=FakeTransactionStore(interference, clock),
        stock=FakeStockStore(interference, **bugs),
        invoices=FakeInvoiceStore(interference),
        clock=clock,
    )
    harness.products.products = {product.sku: product for product in PRODUCTS}
    return harness


def build_mongo_harness(mongo: Mongo, clock: Clock, on_outbox_write: Callable[[], None] = no_op) -> Harness:
    stores = Stores.build(mongo, EventCodec(SCHEMAS), now_us=clock, on_outbox_write=on_outbox_write)
    return Harness(
        products=stores.products,
        purchase_orders=stores.purchase_orders,
        transactions=stores.transactions,
        stock=stores.stock,
        invoices=stores.invoices,
        clock=clock,
        mongo=mongo,
    )


@asynccontextmanager
async def open_mongo_harness(
    uri: str, driver: str, on_outbox_write: Callable[[], None] = no_op
) -> AsyncIterator[Harness]:
    """Yield a harness on a database of its own."""
    settings = MongoSettings(mongodb_uri=uri, mongodb_database=f"t{uuid4().hex[:12]}", mongo_driver=driver)
    async with Mongo.connect(settings) as mongo:
        harness = build_mongo_harness(mongo, Clock(), on_outbox_write)
        for store in (harness.purchase_orders, harness.transactions, harness.stock, harness.invoices):
            await store.create_indexes()
        for product in PRODUCTS:
            await harness.products.put(product)
        yield harness
        await mongo.client.drop_database(settings.mongodb_database)


async def transactions_of(harness: Harness, order_id: str) -> list[Transaction]:
    """Return all transactions of a purchase order by sequence."""
    return [transaction async for transaction in harness.transactions.iterate_by_purchase_order(order_id)]
