"""Composition root of webhooks."""

import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from random import Random
from uuid import uuid4

from services import topics
from services.chassis.avro.registry_client import load_schemas
from services.chassis.avro.schemas import Schemas
from services.chassis.http.page_limits import PageLimits
from services.chassis.http.paging import PageTokenCodec
from services.chassis.http.server import HttpServer, build_application, operations_server
from services.chassis.kafka.consumer import Consumer
from services.chassis.kafka.dead_letter_limit import DeadLetterLimit
from services.chassis.kafka.dead_letters import DeadLetters
from services.chassis.mongodb.key_check import verify_key_ids, verify_page_token_key, verify_rotated_key_ids
from services.chassis.mongodb.outbox import Message, Outbox, Relay
from services.chassis.runtime.background import PeriodicTask, StartupTask
from services.chassis.runtime.health import Health
from services.chassis.runtime.lifecycle import Service
from services.chassis.runtime.smtp import parse_smtp_url
from services.chassis.security.audit import AuditLog
from services.chassis.security.backing_services import BackingServices
from services.chassis.security.keyed_cipher import parse_keys
from services.topics import SUBJECTS_BY_SCHEMA
from services.webhooks import metrics
from services.webhooks.adapters.delivery_store import MongoDeliveryStore, MongoReplayStore
from services.webhooks.adapters.endpoint_store import ENDPOINTS, FEED, MAIL, MongoEndpointStore, decode_event
from services.webhooks.adapters.feed_loader import FeedLoader
from services.webhooks.adapters.feed_store import MongoFeedStore
from services.webhooks.adapters.http_transport import HttpTransport
from services.webhooks.adapters.lease_store import MongoLeaseStore
from services.webhooks.adapters.mailer import Mailer
from services.webhooks.adapters.notifier import FeedChangeListener, SiteNotifier
from services.webhooks.adapters.secret_sealer import (
    ENCRYPTION_KEYS,
    SIGNING_KEYS,
    AesSecretSealer,
    describe_public_key,
    key_id,
    load_signing_keys,
)
from services.webhooks.background import Dispatcher
from services.webhooks.domain.endpoint import EndpointState
from services.webhooks.domain.signature import SECRET_BYTES
from services.webhooks.flows import append_events, manage_endpoints, push, read_feed
from services.webhooks.http.authentication import Authenticator
from services.webhooks.http.bodies import MAX_BODY_BYTES
from services.webhooks.http.endpoints import EndpointsApi
from services.webhooks.http.feed import FeedApi
from services.webhooks.http.params import Cursors
from services.webhooks.settings import Settings
from services.webhooks.wire import EventDecoder
from services.webhooks.worker import Worker

AUDIENCE = "events"
GROUP = "webhooks"
MAIL_INTERVAL_S = 5.0
ENDPOINTS_INTERVAL_S = 15.0
SOURCES = (topics.JOBS_FINISHED.name, topics.FULFILMENT_CODES.name, topics.FULFILMENT_INVOICES.name)


class Components:
    """Components that several parts of the service share."""

    def __init__(self, settings: Settings, schemas: Schemas) -> None:
        self.settings = settings
        self.schemas = schemas
        self.backing = BackingServices(
            settings,
            schemas,
            name=GROUP,
            audience=AUDIENCE,
            sites=topics.AUTH_SITES,
            revocations=topics.AUTH_REVOCATIONS,
        )
        self.mongo, self.now_us, self.security = self.backing.mongo, self.backing.now_us, self.backing.security
        self.feed = MongoFeedStore(self.mongo)
        self.notifier = SiteNotifier(max_waiters=settings.webhooks_max_waiters)
        self.append_deps = append_events.Deps(feed=self.feed, notifier=self.notifier, now_us=self.now_us)
        self.sealer = AesSecretSealer(parse_keys(settings.webhooks_encryption_keys.get_secret_value()))
        self.signing_keys = load_signing_keys(parse_keys(settings.webhooks_signing_keys.get_secret_value()))
        self.outbox = Outbox(self.mongo, [ENDPOINTS], now_us=self.now_us)
        self.event_relay = Relay(self.outbox, self.append, channel=FEED, start_when=self.can_append)
        self.endpoints = MongoEndpointStore(self.mongo, now_us=self.now_us, on_outbox_write=self.event_relay.wake)
        self.leases = MongoLeaseStore(self.mongo, now_us=self.now_us)
        self.deliveries = MongoDeliveryStore(self.mongo, now_us=self.now_us)
        self.replays = MongoReplayStore(self.mongo)
        self.transport = HttpTransport(
            now_us=self.now_us, allow_loopback=settings.webhooks_allow_loopback, proxy=settings.webhooks_proxy_url
        )
        self.dispatcher = self._build_dispatcher()
        days = settings.webhooks_retention_days
        self.startup = StartupTask(
            [
                # First: what the others store would refuse the keys of an earlier configuration.
                partial(verify_page_token_key, self.mongo, settings.page_token_key, service=GROUP),
                partial(verify_key_ids, self.mongo, ENCRYPTION_KEYS, self.sealer.key_ids),
                partial(verify_rotated_key_ids, self.mongo, SIGNING_KEYS, list(map(key_id, self.signing_keys))),
                partial(self.feed.create_indexes, retention_days=days),
                self.endpoints.create_indexes,
                self.leases.create_indexes,
                partial(self.deliveries.create_indexes, retention_days=days),
                partial(self.replays.create_indexes, retention_days=days),
                self.outbox.create_indexes,
            ]
        )

    def _build_dispatcher(self) -> Dispatcher:
        deps = push.Deps(
            feed=self.feed,
            endpoints=self.endpoints,
            deliveries=self.deliveries,
            replays=self.replays,
            secrets=self.sealer,
            transport=self.transport,
            keys=self.signing_keys,
            disable=partial(manage_endpoints.disable_endpoint, endpoints=self.endpoints, now_us=self.now_us),
            now_us=self.now_us,
            random=Random().random,  # noqa: S311 - spreads retries
            owner=new_id(),
            max_in_flight=self.settings.webhooks_max_in_flight,
        )
        dispatcher = Dispatcher(
            deps,
            self.leases,
            lease_s=self.settings.webhooks_lease_s,
            clock_s=time.monotonic,
            start_when=self.can_append,
        )
        self.notifier.listeners.append(dispatcher.on_new_events)
        return dispatcher

    async def append(self, messages: Sequence[Message]) -> Collection[str]:
        """Append the events about endpoints that wait in the outbox; raises `UnavailableError`."""
        await append_events.append_events([decode_event(message.value) for message in messages], self.append_deps)
        return {message.id for message in messages}

    def can_append(self) -> bool:
        """Whether events can be recorded, which needs the unique indexes and the brokers' time."""
        return self.startup.is_done and self.backing.broker_clock.is_known


async def build(settings: Settings) -> Service:
    """Build the service with all its components, not yet started."""
    components = Components(settings, await load_schemas(settings.schemas_dir, settings, SUBJECTS_BY_SCHEMA))
    consumer = build_consumer(components)
    health = Health()
    components.backing.register_health_checks(health, components.startup)
    health.live_while("consumer", lambda: consumer.alive)
    health.live_while("relay", lambda: components.event_relay.alive)
    health.live_while("dispatcher", lambda: components.dispatcher.alive)
    return Service(
        name="webhooks",
        health=health,
        components=(
            operations_server(health, host=settings.operations_host, port=settings.operations_port),
            *components.backing.components(components.startup),
            # Always open: senders wait for events, too.
            FeedChangeListener(components.mongo, components.notifier, clock_s=time.monotonic, always_open=True),
            components.transport,
            components.event_relay,
            *build_mail_relays(components),
            components.dispatcher,
            PeriodicTask(
                "endpoints",
                partial(update_endpoints_gauge, components.endpoints.count_by_state),
                interval_s=ENDPOINTS_INTERVAL_S,
                start_when=lambda: components.startup.is_done,
            ),
            consumer,
            build_http(components),
            # Stopped first: waiting readers are answered while the server still lets requests finish.
            components.notifier,
        ),
    )


def build_consumer(components: Components) -> Consumer:
    """Build the consumer that records events."""
    dead_letter_limit = DeadLetterLimit.from_settings(components.settings)
    worker = Worker(
        components.append_deps,
        decoder=EventDecoder(components.schemas),
        dead_letters=DeadLetters(components.backing.producer, group=GROUP),
        dead_letter_limit=dead_letter_limit,
    )
    return Consumer(
        components.settings,
        worker,
        group=GROUP,
        topics=SOURCES,
        client_id=GROUP,
        start_when=components.can_append,
        halted_partitions=lambda: dead_letter_limit.halted,
        poll_timeout_ms=25,
        max_poll_records=2_000,
    )


def build_http(components: Components) -> HttpServer:
    """Build the server of the API."""
    settings = components.settings
    authenticator = Authenticator(
        requests=components.security.authenticator,
        is_started=lambda: components.startup.is_done,
        rate_limit=components.backing.rate_limit,
        requests_per_second=settings.webhooks_requests_per_second,
    )
    page_limits = PageLimits("the events API", components.security.authenticator.recent_clients)
    feed = FeedApi(
        deps=read_feed.Deps(feed=FeedLoader(components.feed), waiters=components.notifier, clock_s=time.monotonic),
        authenticator=authenticator,
        cursors=Cursors(settings.page_token_key.get_secret_value()),
        page_limits=page_limits,
        openapi=settings.schemas_dir / "openapi" / "events.yaml",
    )
    endpoints = EndpointsApi(
        deps=build_manage_deps(components),
        authenticator=authenticator,
        page_tokens=PageTokenCodec(settings.page_token_key.get_secret_value(), salt="webhooks.page"),
        public_keys=list(map(describe_public_key, components.signing_keys)),
        page_limits=page_limits,
        audit=AuditLog(),
        allow_loopback=settings.webhooks_allow_loopback,
        body_timeout_s=settings.body_timeout_s,
    )
    app = build_application([*feed.routes(), *endpoints.routes()], max_body_bytes=MAX_BODY_BYTES)
    return HttpServer(app, host=settings.http_host, port=settings.http_port)


def build_manage_deps(components: Components) -> manage_endpoints.Deps:
    """Build the dependencies of managing endpoints."""
    return manage_endpoints.Deps(
        feed=components.feed,
        endpoints=components.endpoints,
        deliveries=components.deliveries,
        replays=components.replays,
        secrets=components.sealer,
        new_id=new_id,
        new_secret=partial(secrets.token_bytes, SECRET_BYTES),
        now_us=components.now_us,
        on_change=components.dispatcher.wake,
    )


def build_mail_relays(components: Components) -> Sequence[Relay]:
    """Build the relay that mails about disabled endpoints; without a mail server, mails stay in the outbox."""
    settings = components.settings
    if settings.smtp_url is None:
        return ()
    server = parse_smtp_url(settings.smtp_url.get_secret_value())
    mailer = Mailer(server, sender=settings.mail_from, sites=components.security.sites)
    ready = lambda: components.startup.is_done and components.security.sites_loaded  # noqa: E731
    return (Relay(components.outbox, mailer.deliver, channel=MAIL, interval_s=MAIL_INTERVAL_S, start_when=ready),)


async def update_endpoints_gauge(count: Callable[[], Awaitable[Mapping[str, int]]]) -> None:
    """Set the gauge of endpoints by state. Raises `UnavailableError`; the gauge then keeps its values."""
    counts = await count()
    for state in EndpointState:
        metrics.ENDPOINTS.labels(state.value).set(counts.get(state.value, 0))


def new_id() -> str:
    """Return an unguessable id."""
    return str(uuid4())
