"""Fulfilment, put together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from uuid import uuid4

from aiohttp import web

from services import topics
from services.chassis.avro.registry_client import load_schemas
from services.chassis.http.idempotency import IdempotencyKeys
from services.chassis.http.paging import PageTokenCodec
from services.chassis.http.ratelimit import RateLimit
from services.chassis.http.server import HttpServer, build_application, operations_server
from services.chassis.kafka.consumer import Consumer
from services.chassis.kafka.dead_letter_limit import DeadLetterLimit
from services.chassis.kafka.dead_letters import DeadLetters
from services.chassis.kafka.producer import Producer
from services.chassis.mongodb import outbox
from services.chassis.mongodb.client import Mongo
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """What the API's faces share."""

    settings: Settings
    stores: Stores
    idempotency: IdempotencyKeys
    desk: Authenticator
    runner: SingleFlight
    vault: CodeCipher
    paper: TemplateInvoiceRenderer
    customers: SiteCustomers
    suppliers: Mapping[str, Supplier]


async def build(settings: Settings) -> Service:
    """All parts of the service, not yet started."""
    schemas = await load_schemas(settings.schemas_dir, settings, SUBJECTS_BY_SCHEMA)
    mongo = Mongo.connect(settings)
    producer = Producer(settings, client_id=GROUP)
    access = RequestSecurity(
        schemas,
        kafka=settings,
        tokens=settings,
        sites=topics.AUTH_SITES,
        revocations=topics.AUTH_REVOCATIONS,
        audience=AUDIENCE,
        client_id=GROUP,
    )
    customers, events = SiteCustomers(access.sites), EventCodec(schemas)
    vault = CodeCipher(settings.encryption_keys, settings.digest_key)
    paper = TemplateInvoiceRenderer(issuer=settings.invoice_issuer, font=settings.invoice_font)
    idempotency = IdempotencyKeys(mongo, scope=AUDIENCE)
    waiting = outbox.Outbox(mongo, [TRANSACTIONS, INVOICES], now_us=now_us)
    relay = outbox.Relay(
        waiting, outbox.kafka_delivery(producer), channel=KAFKA, start_when=lambda: preparation.is_done
    )
    stores = Stores.build(mongo, events, now_us=now_us, on_outbox_write=relay.wake)
    preparation = StartupTask([one.create_indexes for one in (stores, idempotency, waiting)])
    suppliers = build_suppliers(stores.stock, vault.seal, is_simulated=settings.simulated_supplier)
    runner = _runner(settings, stores, suppliers, customers)

    def may_work() -> bool:
        return preparation.is_done and access.sites_loaded

    sweeper = Sweeper(stores.transactions, runner.run, batch_size=settings.fulfilment_concurrency * 4, now_us=now_us)
    sweeping = PeriodicTask(
        "sweep", sweeper.sweep, interval_s=settings.fulfilment_sweep_interval_s, start_when=may_work
    )
    measuring = PeriodicTask(
        "measure", sweeper.update_metrics, interval_s=settings.fulfilment_sweep_interval_s, start_when=may_work
    )
    closing = PeriodicTask(
        "close",
        partial(close_day.close_and_credit, _accounts(settings, stores, customers)),
        interval_s=settings.closing_interval_s,
        start_when=may_work,
    )
    brake = DeadLetterLimit.from_settings(settings)
    consumer = Consumer(
        settings,
        Worker(runner.run, events=events, dead_letters=DeadLetters(producer, group=GROUP), dead_letter_limit=brake),
        group=GROUP,
        topics=[topics.FULFILMENT_TRANSACTIONS.name],
        client_id=GROUP,
        start_when=may_work,
        halted_partitions=lambda: brake.halted,
        poll_timeout_ms=25,
        max_poll_records=500,
    )
    desk = Authenticator(
        requests=access.authenticator,
        customers=customers,
        rate_limit=RateLimit(),
        reads_per_second=settings.fulfilment_reads_per_second,
        orders_per_second=settings.fulfilment_orders_per_second,
    )
    office = Office(
        settings=settings,
        stores=stores,
        idempotency=idempotency,
        desk=desk,
        runner=runner,
        vault=vault,
        paper=paper,
        customers=customers,
        suppliers=suppliers,
    )
    api = build_application(_routes(office), max_body_bytes=MAX_BODY_BYTES)
    health = Health()
    health.ready_when("kafka", lambda: producer.ready)
    health.ready_when("mongodb", lambda: preparation.is_done and mongo.ready)
    access.register_health_checks(health)
    health.live_while("consumer", lambda: consumer.alive)
    health.live_while("relay", lambda: relay.alive)
    health.live_while("sweeper", lambda: sweeping.alive)
    health.live_while("closing", lambda: closing.alive)
    return Service(
        name="fulfilment",
        health=health,
        components=(
            operations_server(health, host=settings.operations_host, port=settings.operations_port),
            mongo,
            preparation,
            producer,
            *access.components,
            relay,
            *_mail(office, waiting, may_begin=lambda: preparation.is_done),
            runner,
            sweeping,
            measuring,
            closing,
            consumer,
            HttpServer(api, host=settings.http_host, port=settings.http_port),
        ),
    )


def _runner(
    settings: Settings, stores: Stores, suppliers: Mapping[str, Supplier], customers: SiteCustomers
) -> SingleFlight:
    world = deliver_codes.Deps(
        transactions=stores.transactions,
        stock=stores.stock,
        suppliers=suppliers,
        customers=customers,
        supplier_log=SupplierLog(now_us),
        now_us=now_us,
    )
    return SingleFlight(partial(deliver_codes.fulfil, deps=world), max_concurrency=settings.fulfilment_concurrency)


def _accounts(settings: Settings, stores: Stores, customers: SiteCustomers) -> close_day.Deps:
    return close_day.Deps(
        purchase_orders=stores.purchase_orders,
        transactions=stores.transactions,
        invoices=stores.invoices,
        customers=customers,
        now_us=now_us,
        grace_us=int(settings.closing_grace_s * MICROS_PER_SECOND),
    )


def _routes(office: Office) -> Sequence[web.RouteDef]:
    settings, stores = office.settings, office.stores
    places = PageTokenCodec(settings.page_token_key.get_secret_value(), salt="fulfilment.page")
    currencies = load_currencies()
    audit = AuditLog()
    orders = OrdersApi(
        authenticator=office.desk,
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
            try_fulfil=office.runner.run,
            open_code=office.vault.open,
        ),
        transactions=stores.transactions,
        idempotency=office.idempotency,
        page_tokens=places,
        audit=audit,
        new_id=new_id,
        body_timeout_s=settings.body_timeout_s,
        openapi=settings.schemas_dir / "openapi" / "fulfilment.yaml",
    )
    stock = StockApi(
        authenticator=office.desk,
        deps=load_stock.Deps(
            products=stores.products, stock=stores.stock, transactions=stores.transactions, seal=office.vault.seal
        ),
        audit=audit,
        currencies=currencies,
        suppliers=office.suppliers.keys(),
        body_timeout_s=settings.body_timeout_s,
    )
    invoices = InvoicesApi(
        authenticator=office.desk,
        purchase_orders=stores.purchase_orders,
        transactions=stores.transactions,
        invoices=stores.invoices,
        renderer=office.paper,
        page_tokens=places,
        now_us=now_us,
    )
    return [*orders.routes(), *stock.routes(), *invoices.routes()]


def _mail(office: Office, waiting: outbox.Outbox, *, may_begin: Callable[[], bool]) -> Sequence[outbox.Relay]:
    """The relay that mails invoices. Without a mail server there is none, and mails wait."""
    settings, stores = office.settings, office.stores
    if settings.smtp_url is None:
        return ()
    mailer = Mailer(
        parse_smtp_url(settings.smtp_url.get_secret_value()),
        sender=settings.mail_from,
        issuer=settings.invoice_issuer,
        renderer=office.paper,
        invoices=stores.invoices,
    )
    return (outbox.Relay(waiting, mailer.deliver, channel=MAIL, interval_s=5.0, start_when=may_begin),)


def new_id() -> str:
    """A transaction's id, which nobody can guess."""
    return str(uuid4())
