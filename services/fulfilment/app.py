"""Composition root of fulfilment."""

from collections.abc import Callable, Sequence
from functools import partial
from uuid import uuid4

from services import topics
from services.chassis.avro.registry_client import load_schemas
from services.chassis.avro.schemas import Schemas
from services.chassis.http.idempotency import IdempotencyKeys
from services.chassis.http.page_limits import PageLimits
from services.chassis.http.paging import PageTokenCodec
from services.chassis.http.server import HttpServer, build_application, operations_server
from services.chassis.kafka.consumer import Consumer
from services.chassis.kafka.dead_letter_limit import DeadLetterLimit
from services.chassis.kafka.dead_letters import DeadLetters
from services.chassis.mongodb.client import Mongo
from services.chassis.mongodb.key_check import verify_key_ids, verify_keys, verify_page_token_key
from services.chassis.mongodb.outbox import Outbox, Relay, kafka_delivery
from services.chassis.runtime.background import PeriodicTask, StartupTask
from services.chassis.runtime.currencies import load_currencies
from services.chassis.runtime.health import Health
from services.chassis.runtime.lifecycle import Service
from services.chassis.runtime.smtp import parse_smtp_url
from services.chassis.security.audit import AuditLog
from services.chassis.security.backing_services import BackingServices
from services.fulfilment.adapters.code_cipher import CodeCipher
from services.fulfilment.adapters.customers import SiteCustomers
from services.fulfilment.adapters.invoice_renderer import TemplateInvoiceRenderer
from services.fulfilment.adapters.invoices import INVOICES
from services.fulfilment.adapters.mailer import Mailer
from services.fulfilment.adapters.stores import Stores
from services.fulfilment.adapters.suppliers import build_suppliers
from services.fulfilment.adapters.transactions import TRANSACTIONS
from services.fulfilment.background import Sweeper
from services.fulfilment.domain.business_day import MICROS_PER_SECOND
from services.fulfilment.domain.invoice import Issuer
from services.fulfilment.flows import close_day, fulfil, get_codes, load_stock, place_order
from services.fulfilment.flows.single_flight import SingleFlight
from services.fulfilment.flows.supplier_log import SupplierLog
from services.fulfilment.http.authentication import Authenticator
from services.fulfilment.http.body import MAX_BODY_BYTES
from services.fulfilment.http.invoices import InvoicesApi
from services.fulfilment.http.orders import OrdersApi
from services.fulfilment.http.stock import StockApi
from services.fulfilment.settings import Settings
from services.fulfilment.wire.events import KAFKA, MAIL, EventCodec
from services.fulfilment.worker import Worker
from services.topics import SUBJECTS_BY_SCHEMA

AUDIENCE = "fulfilment"
GROUP = "fulfilment"
MAIL_INTERVAL_S = 5.0
ENCRYPTION_KEYS = "CODE_ENCRYPTION_KEYS"


class Components:
    """Components that several parts of the service share."""

    def __init__(self, settings: Settings, schemas: Schemas) -> None:
        self.settings = settings
        self.backing = BackingServices(
            settings,
            schemas,
            name=GROUP,
            audience=AUDIENCE,
            sites=topics.AUTH_SITES,
            revocations=topics.AUTH_REVOCATIONS,
        )
        self.mongo, self.now_us, self.security = self.backing.mongo, self.backing.now_us, self.backing.security
        self.customers = SiteCustomers(self.security.sites)
        self.codec = EventCodec(schemas)
        self.cipher = CodeCipher(settings.encryption_keys, settings.digest_key)
        self.renderer = TemplateInvoiceRenderer(font=settings.invoice_font)
        self.outbox = Outbox(self.mongo, [TRANSACTIONS, INVOICES], now_us=self.now_us)
        self.event_relay = Relay(
            self.outbox, kafka_delivery(self.backing.producer), channel=KAFKA, start_when=lambda: self.startup.is_done
        )
        self.stores = Stores.build(self.mongo, self.codec, now_us=self.now_us, on_outbox_write=self.event_relay.wake)
        self.idempotency = IdempotencyKeys(self.mongo, scope=AUDIENCE, now=self.backing.broker_clock.now)
        self.startup = StartupTask(
            [
                # First: what the others store would refuse the keys of an earlier configuration.
                partial(verify_page_token_key, self.mongo, settings.page_token_key, service=AUDIENCE),
                partial(verify_code_keys, self.mongo, self.cipher, settings.digest_key),
                self.stores.create_indexes,
                self.idempotency.create_indexes,
                self.outbox.create_indexes,
            ]
        )
        self.suppliers = build_suppliers(self.stores.stock, self.cipher.seal, is_simulated=settings.simulated_supplier)
        fulfil_deps = fulfil.Deps(
            transactions=self.stores.transactions,
            stock=self.stores.stock,
            suppliers=self.suppliers,
            customers=self.customers,
            supplier_log=SupplierLog(self.now_us),
            now_us=self.now_us,
        )
        self.fulfilment = SingleFlight(
            partial(fulfil.fulfil, deps=fulfil_deps), max_concurrency=settings.fulfilment_concurrency
        )

    def can_fulfil(self) -> bool:
        """Whether transactions can be processed, which needs all indexes and their customers."""
        return self.startup.is_done and self.security.sites_loaded


async def build(settings: Settings) -> Service:
    """Build the service with all its components, not yet started."""
    components = Components(settings, await load_schemas(settings.schemas_dir, settings, SUBJECTS_BY_SCHEMA))
    consumer = build_workers(components)
    sweep, measure, close = build_background(components)
    health = Health()
    components.backing.register_health_checks(health, components.startup)
    health.live_while("consumer", lambda: consumer.alive)
    health.live_while("relay", lambda: components.event_relay.alive)
    health.live_while("sweeper", lambda: sweep.alive)
    health.live_while("closing", lambda: close.alive)
    return Service(
        name="fulfilment",
        health=health,
        components=(
            operations_server(health, host=settings.operations_host, port=settings.operations_port),
            *components.backing.components(components.startup),
            components.event_relay,
            *build_mail_relays(components),
            components.fulfilment,
            sweep,
            measure,
            close,
            consumer,
            build_http(components),
        ),
    )


def build_workers(components: Components) -> Consumer:
    """Build the consumer that fulfils placed transactions."""
    settings = components.settings
    dead_letter_limit = DeadLetterLimit.from_settings(settings)
    worker = Worker(
        components.fulfilment.run,
        codec=components.codec,
        dead_letters=DeadLetters(components.backing.producer, group=GROUP),
        dead_letter_limit=dead_letter_limit,
    )
    return Consumer(
        settings,
        worker,
        group=GROUP,
        topics=[topics.FULFILMENT_TRANSACTIONS.name],
        client_id=GROUP,
        start_when=components.can_fulfil,
        halted_partitions=lambda: dead_letter_limit.halted,
        poll_timeout_ms=25,
        max_poll_records=500,
    )


def build_background(components: Components) -> tuple[PeriodicTask, PeriodicTask, PeriodicTask]:
    """Build the tasks that fulfil due transactions, report pending ones, and close ended days."""
    settings, stores = components.settings, components.stores
    sweeper = Sweeper(
        stores.transactions,
        components.fulfilment.run,
        batch_size=settings.fulfilment_concurrency * 4,
        now_us=components.now_us,
    )
    grace_us = int(settings.closing_grace_s * MICROS_PER_SECOND)
    close_day_deps = build_close_day_deps(
        stores, components.customers, settings.issuer, now_us=components.now_us, grace_us=grace_us
    )
    close = partial(close_day.close_and_credit, close_day_deps)
    interval_s = settings.fulfilment_sweep_interval_s
    return (
        PeriodicTask("sweep", sweeper.sweep, interval_s=interval_s, start_when=components.can_fulfil),
        PeriodicTask("measure", sweeper.update_metrics, interval_s=interval_s, start_when=components.can_fulfil),
        PeriodicTask("close", close, interval_s=settings.closing_interval_s, start_when=components.can_fulfil),
    )


def build_mail_relays(components: Components) -> Sequence[Relay]:
    """Build the relay that mails invoices; none without a mail server, and mails stay in the outbox."""
    settings = components.settings
    if settings.smtp_url is None:
        return ()
    mailer = Mailer(
        parse_smtp_url(settings.smtp_url.get_secret_value()),
        sender=settings.mail_from,
        renderer=components.renderer,
        invoices=components.stores.invoices,
    )
    relay = Relay(
        components.outbox,
        mailer.deliver,
        channel=MAIL,
        interval_s=MAIL_INTERVAL_S,
        start_when=lambda: components.startup.is_done,
    )
    return (relay,)


def build_http(components: Components) -> HttpServer:
    """Build the server of the API."""
    settings, stores = components.settings, components.stores
    page_tokens = PageTokenCodec(settings.page_token_key.get_secret_value(), salt="fulfilment.page")
    page_limits = PageLimits("the fulfilment API", components.security.authenticator.recent_clients)
    audit = AuditLog()
    authenticator = Authenticator(
        requests=components.security.authenticator,
        customers=components.customers,
        # Without its unique indexes, an order or a code would be stored twice.
        is_started=lambda: components.startup.is_done,
        rate_limit=components.backing.rate_limit,
        reads_per_second=settings.fulfilment_reads_per_second,
        orders_per_second=settings.fulfilment_orders_per_second,
    )
    stock = StockApi(
        authenticator=authenticator,
        deps=build_load_stock_deps(stores, components.cipher),
        audit=audit,
        currencies=load_currencies(),
        suppliers=components.suppliers.keys(),
        body_timeout_s=settings.body_timeout_s,
    )
    invoices = InvoicesApi(
        authenticator=authenticator,
        purchase_orders=stores.purchase_orders,
        transactions=stores.transactions,
        invoices=stores.invoices,
        renderer=components.renderer,
        page_tokens=page_tokens,
        page_limits=page_limits,
        now_us=components.now_us,
    )
    orders = build_orders_api(components, authenticator, page_tokens, page_limits, audit)
    app = build_application([*orders.routes(), *stock.routes(), *invoices.routes()], max_body_bytes=MAX_BODY_BYTES)
    return HttpServer(app, host=settings.http_host, port=settings.http_port)


def build_orders_api(
    components: Components,
    authenticator: Authenticator,
    page_tokens: PageTokenCodec,
    page_limits: PageLimits,
    audit: AuditLog,
) -> OrdersApi:
    """Build the handlers of orders and codes."""
    settings, stores = components.settings, components.stores
    return OrdersApi(
        authenticator=authenticator,
        place_order_deps=place_order.Deps(
            products=stores.products,
            purchase_orders=stores.purchase_orders,
            transactions=stores.transactions,
            now_us=components.now_us,
            deadline=settings.fulfilment_deadline,
        ),
        get_codes_deps=get_codes.Deps(
            transactions=stores.transactions,
            stock=stores.stock,
            try_fulfil=components.fulfilment.run,
            open_code=components.cipher.open,
        ),
        transactions=stores.transactions,
        idempotency=components.idempotency,
        page_tokens=page_tokens,
        page_limits=page_limits,
        audit=audit,
        new_id=new_id,
        body_timeout_s=settings.body_timeout_s,
        openapi=settings.schemas_dir / "openapi" / "fulfilment.yaml",
    )


async def verify_code_keys(mongo: Mongo, cipher: CodeCipher, digest_key: bytes) -> None:
    """Raise `ChangedSettingError` if known codes would be taken for new ones, or could not be opened."""
    await verify_keys(mongo, {"CODE_DIGEST_KEY": digest_key})
    await verify_key_ids(mongo, ENCRYPTION_KEYS, cipher.key_ids)


def build_close_day_deps(
    stores: Stores, customers: SiteCustomers, issuer: Issuer, *, now_us: Callable[[], int], grace_us: int = 0
) -> close_day.Deps:
    """Build the dependencies of closing days."""
    return close_day.Deps(
        purchase_orders=stores.purchase_orders,
        transactions=stores.transactions,
        invoices=stores.invoices,
        customers=customers,
        issuer=issuer,
        now_us=now_us,
        grace_us=grace_us,
    )


def build_load_stock_deps(stores: Stores, cipher: CodeCipher) -> load_stock.Deps:
    """Build the dependencies of loading products and codes."""
    return load_stock.Deps(
        products=stores.products, stock=stores.stock, transactions=stores.transactions, seal=cipher.seal
    )


def new_id() -> str:
    """Return an unguessable transaction id."""
    return str(uuid4())
