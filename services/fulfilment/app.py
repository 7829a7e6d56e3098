"""Composition root of fulfilment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from uuid import uuid4

from services import topics
from services.chassis.avro.registry_client import load_schemas
from services.chassis.avro.schemas import Schemas
from services.chassis.http.idempotency import IdempotencyKeys
from services.chassis.http.paging import PageTokenCodec
from services.chassis.http.ratelimit import RateLimit
from services.chassis.http.server import HttpServer, build_application, operations_server
from services.chassis.kafka.broker_clock import BrokerClock
from services.chassis.kafka.consumer import Consumer
from services.chassis.kafka.dead_letter_limit import DeadLetterLimit
from services.chassis.kafka.dead_letters import DeadLetters
from services.chassis.kafka.producer import Producer
from services.chassis.mongodb.client import Mongo
from services.chassis.mongodb.outbox import Outbox, Relay, kafka_delivery
from services.chassis.runtime.background import PeriodicTask, StartupTask
from services.chassis.runtime.clock import now_us
from services.chassis.runtime.currencies import load_currencies
from services.chassis.runtime.health import Health
from services.chassis.runtime.lifecycle import Service
from services.chassis.security.access import RequestSecurity
from services.chassis.security.audit import AuditLog
from services.fulfilment.adapters.code_cipher import CodeCipher
from services.fulfilment.adapters.customers import SiteCustomers
from services.fulfilment.adapters.invoice_renderer import TemplateInvoiceRenderer
from services.fulfilment.adapters.invoices import INVOICES
from services.fulfilment.adapters.mailer import Mailer, parse_smtp_url
from services.fulfilment.adapters.stores import Stores
from services.fulfilment.adapters.suppliers import build_suppliers
from services.fulfilment.adapters.transactions import TRANSACTIONS
from services.fulfilment.background import Sweeper
from services.fulfilment.domain.business_day import MICROS_PER_SECOND
from services.fulfilment.flows import close_day, deliver_codes, get_codes, load_stock, place_order
from services.fulfilment.flows.single_flight import SingleFlight
from services.fulfilment.flows.supplier_log import SupplierLog
from services.fulfilment.http.authentication import Authenticator
from services.fulfilment.http.body import MAX_BODY_BYTES
from services.fulfilment.http.invoices import InvoicesApi
from services.fulfilment.http.orders import OrdersApi
from services.fulfilment.http.stock import StockApi
from services.fulfilment.ports import Supplier
from services.fulfilment.settings import Settings
from services.fulfilment.wire.events import KAFKA, MAIL, EventCodec
from services.fulfilment.worker import Worker
from services.topics import SUBJECTS_BY_SCHEMA

AUDIENCE = "fulfilment"
GROUP = "fulfilment"
MAIL_INTERVAL_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Components that several parts of the service share."""

    settings: Settings
    mongo: Mongo
    producer: Producer
    broker_clock: BrokerClock
    security: RequestSecurity
    codec: EventCodec
    customers: SiteCustomers
    cipher: CodeCipher
    renderer: TemplateInvoiceRenderer
    idempotency: IdempotencyKeys
    outbox: Outbox
    event_relay: Relay
    stores: Stores
    suppliers: Mapping[str, Supplier]
    startup: StartupTask
    fulfilment: SingleFlight

    def is_prepared(self) -> bool:
        """Whether all indexes exist."""
        return self.startup.is_done

    def can_fulfil(self) -> bool:
        """Whether transactions can be processed, which needs their customers."""
        return self.startup.is_done and self.security.sites_loaded


async def build(settings: Settings) -> Service:
    """Build the service with all its components, not yet started."""
    deps = build_deps(settings, await load_schemas(settings.schemas_dir, settings, SUBJECTS_BY_SCHEMA))
    consumer = build_workers(deps)
    sweep, measure, close = build_background(deps)
    health = Health()
    health.ready_when("clock", lambda: deps.broker_clock.ready)
    health.ready_when("kafka", lambda: deps.producer.ready)
    health.ready_when("mongodb", lambda: deps.is_prepared() and deps.mongo.ready)
    deps.security.register_health_checks(health)
    health.live_while("consumer", lambda: consumer.alive)
    health.live_while("relay", lambda: deps.event_relay.alive)
    health.live_while("sweeper", lambda: sweep.alive)
    health.live_while("closing", lambda: close.alive)
    return Service(
        name="fulfilment",
        health=health,
        components=(
            operations_server(health, host=settings.operations_host, port=settings.operations_port),
            deps.mongo,
            deps.startup,
            deps.producer,
            deps.broker_clock,
            *deps.security.components,
            deps.event_relay,
            *build_mail_relays(deps),
            deps.fulfilment,
            sweep,
            measure,
            close,
            consumer,
            build_http(deps),
        ),
    )


def build_deps(settings: Settings, schemas: Schemas) -> Deps:
    """Build the shared components."""
    mongo, producer, codec = Mongo.connect(settings), Producer(settings, client_id=GROUP), EventCodec(schemas)
    security = RequestSecurity(
        schemas,
        kafka=settings,
        tokens=settings,
        sites=topics.AUTH_SITES,
        revocations=topics.AUTH_REVOCATIONS,
        audience=AUDIENCE,
        client_id=GROUP,
    )
    messages = Outbox(mongo, [TRANSACTIONS, INVOICES], now_us=now_us)
    delivery = kafka_delivery(producer)
    event_relay = Relay(messages, delivery, channel=KAFKA, start_when=lambda: startup.is_done)
    stores = Stores.build(mongo, codec, now_us=now_us, on_outbox_write=event_relay.wake)
    idempotency = IdempotencyKeys(mongo, scope=AUDIENCE)
    startup = StartupTask([stores.create_indexes, idempotency.create_indexes, messages.create_indexes])
    cipher = CodeCipher(settings.encryption_keys, settings.digest_key)
    suppliers = build_suppliers(stores.stock, cipher.seal, is_simulated=settings.simulated_supplier)
    customers = SiteCustomers(security.sites)
    deliver_codes_deps = deliver_codes.Deps(
        transactions=stores.transactions,
        stock=stores.stock,
        suppliers=suppliers,
        customers=customers,
        supplier_log=SupplierLog(now_us),
        now_us=now_us,
    )
    fulfil = partial(deliver_codes.fulfil, deps=deliver_codes_deps)
    return Deps(
        settings=settings,
        mongo=mongo,
        producer=producer,
        broker_clock=BrokerClock(producer, max_offset_s=settings.kafka_max_clock_offset_s),
        security=security,
        codec=codec,
        customers=customers,
        cipher=cipher,
        renderer=TemplateInvoiceRenderer(issuer=settings.invoice_issuer, font=settings.invoice_font),
        idempotency=idempotency,
        outbox=messages,
        event_relay=event_relay,
        stores=stores,
        suppliers=suppliers,
        startup=startup,
        fulfilment=SingleFlight(fulfil, max_concurrency=settings.fulfilment_concurrency),
    )


def build_workers(deps: Deps) -> Consumer:
    """Build the consumer that fulfils placed transactions."""
    settings = deps.settings
    dead_letter_limit = DeadLetterLimit.from_settings(settings)
    worker = Worker(
        deps.fulfilment.run,
        codec=deps.codec,
        dead_letters=DeadLetters(deps.producer, group=GROUP),
        dead_letter_limit=dead_letter_limit,
    )
    return Consumer(
        settings,
        worker,
        group=GROUP,
        topics=[topics.FULFILMENT_TRANSACTIONS.name],
        client_id=GROUP,
        start_when=deps.can_fulfil,
        halted_partitions=lambda: dead_letter_limit.halted,
        poll_timeout_ms=25,
        max_poll_records=500,
    )


def build_background(deps: Deps) -> tuple[PeriodicTask, PeriodicTask, PeriodicTask]:
    """Build the tasks that fulfil due transactions, report pending ones, and close ended days."""
    settings, stores = deps.settings, deps.stores
    sweeper = Sweeper(
        stores.transactions, deps.fulfilment.run, batch_size=settings.fulfilment_concurrency * 4, now_us=now_us
    )
    grace_us = int(settings.closing_grace_s * MICROS_PER_SECOND)
    close = partial(close_day.close_and_credit, build_close_day_deps(stores, deps.customers, grace_us=grace_us))
    interval_s = settings.fulfilment_sweep_interval_s
    return (
        PeriodicTask("sweep", sweeper.sweep, interval_s=interval_s, start_when=deps.can_fulfil),
        PeriodicTask("measure", sweeper.update_metrics, interval_s=interval_s, start_when=deps.can_fulfil),
        PeriodicTask("close", close, interval_s=settings.closing_interval_s, start_when=deps.can_fulfil),
    )


def build_mail_relays(deps: Deps) -> Sequence[Relay]:
    """Build the relay that mails invoices; none without a mail server, and mails stay in the outbox."""
    settings = deps.settings
    if settings.smtp_url is None:
        return ()
    mailer = Mailer(
        parse_smtp_url(settings.smtp_url.get_secret_value()),
        sender=settings.mail_from,
        issuer=settings.invoice_issuer,
        renderer=deps.renderer,
        invoices=deps.stores.invoices,
    )
    relay = Relay(deps.outbox, mailer.deliver, channel=MAIL, interval_s=MAIL_INTERVAL_S, start_when=deps.is_prepared)
    return (relay,)


def build_http(deps: Deps) -> HttpServer:
    """Build the server of the API."""
    settings, stores = deps.settings, deps.stores
    page_tokens = PageTokenCodec(settings.page_token_key.get_secret_value(), salt="fulfilment.page")
    audit = AuditLog()
    authenticator = Authenticator(
        requests=deps.security.authenticator,
        customers=deps.customers,
        rate_limit=RateLimit(),
        reads_per_second=settings.fulfilment_reads_per_second,
        orders_per_second=settings.fulfilment_orders_per_second,
    )
    stock = StockApi(
        authenticator=authenticator,
        deps=build_load_stock_deps(stores, deps.cipher),
        audit=audit,
        currencies=load_currencies(),
        suppliers=deps.suppliers.keys(),
        body_timeout_s=settings.body_timeout_s,
    )
    invoices = InvoicesApi(
        authenticator=authenticator,
        purchase_orders=stores.purchase_orders,
        transactions=stores.transactions,
        invoices=stores.invoices,
        renderer=deps.renderer,
        page_tokens=page_tokens,
        now_us=now_us,
    )
    orders = build_orders_api(deps, authenticator, page_tokens, audit)
    app = build_application([*orders.routes(), *stock.routes(), *invoices.routes()], max_body_bytes=MAX_BODY_BYTES)
    return HttpServer(app, host=settings.http_host, port=settings.http_port)


def build_orders_api(
    deps: Deps, authenticator: Authenticator, page_tokens: PageTokenCodec, audit: AuditLog
) -> OrdersApi:
    """Build the handlers of orders and codes."""
    settings, stores = deps.settings, deps.stores
    return OrdersApi(
        authenticator=authenticator,
        place_order_deps=place_order.Deps(
            products=stores.products,
            purchase_orders=stores.purchase_orders,
            transactions=stores.transactions,
            now_us=now_us,
            deadline=settings.fulfilment_deadline,
        ),
        get_codes_deps=get_codes.Deps(
            transactions=stores.transactions,
            stock=stores.stock,
            try_fulfil=deps.fulfilment.run,
            open_code=deps.cipher.open,
        ),
        transactions=stores.transactions,
        idempotency=deps.idempotency,
        page_tokens=page_tokens,
        audit=audit,
        new_id=new_id,
        body_timeout_s=settings.body_timeout_s,
        openapi=settings.schemas_dir / "openapi" / "fulfilment.yaml",
    )


def build_close_day_deps(stores: Stores, customers: SiteCustomers, *, grace_us: int = 0) -> close_day.Deps:
    """Build the dependencies of closing days."""
    return close_day.Deps(
        purchase_orders=stores.purchase_orders,
        transactions=stores.transactions,
        invoices=stores.invoices,
        customers=customers,
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
