"""Composition root of webhooks."""

import time
from functools import partial

from services import topics
from services.chassis.avro.registry_client import load_schemas
from services.chassis.avro.schemas import Schemas
from services.chassis.http.server import HttpServer, build_application, operations_server
from services.chassis.http.shared_rate_limit import SharedRateLimit
from services.chassis.kafka.broker_clock import BrokerClock
from services.chassis.kafka.consumer import Consumer
from services.chassis.kafka.dead_letter_limit import DeadLetterLimit
from services.chassis.kafka.dead_letters import DeadLetters
from services.chassis.kafka.producer import Producer
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.background import StartupTask
from services.chassis.runtime.health import Health
from services.chassis.runtime.lifecycle import Service
from services.chassis.security.access import RequestSecurity
from services.topics import SUBJECTS_BY_SCHEMA
from services.webhooks.adapters.change_stream import ChangeStreamListener
from services.webhooks.adapters.feed_loader import FeedLoader
from services.webhooks.adapters.feed_store import MongoFeedStore
from services.webhooks.adapters.notifier import SiteNotifier
from services.webhooks.flows import append_events, read_feed
from services.webhooks.http.authentication import Authenticator
from services.webhooks.http.feed import FeedApi
from services.webhooks.http.params import Cursors
from services.webhooks.settings import Settings
from services.webhooks.wire import EventDecoder
from services.webhooks.worker import Worker

AUDIENCE = "events"
GROUP = "webhooks"
SOURCES = (topics.JOBS_FINISHED.name, topics.FULFILMENT_CODES.name, topics.FULFILMENT_INVOICES.name)


class Components:
    """Components that several parts of the service share."""

    def __init__(self, settings: Settings, schemas: Schemas) -> None:
        self.settings = settings
        self.schemas = schemas
        self.mongo = Mongo.connect(settings)
        self.producer = Producer(settings, client_id=GROUP)
        self.broker_clock = BrokerClock(self.producer, max_offset_s=settings.kafka_max_clock_offset_s)
        # The same in all replicas, and steady when the local clock jumps.
        self.now_us = self.broker_clock.now_us
        self.security = RequestSecurity(
            schemas,
            kafka=settings,
            tokens=settings,
            sites=topics.AUTH_SITES,
            revocations=topics.AUTH_REVOCATIONS,
            audience=AUDIENCE,
            client_id=GROUP,
        )
        self.rate_limit = SharedRateLimit.from_settings(settings)
        self.feed = MongoFeedStore(self.mongo)
        self.notifier = SiteNotifier(max_waiters=settings.webhooks_max_waiters)
        self.append_deps = append_events.Deps(feed=self.feed, notifier=self.notifier, now_us=self.now_us)
        self.startup = StartupTask([partial(self.feed.create_indexes, retention_days=settings.webhooks_retention_days)])

    def can_append(self) -> bool:
        """Whether events can be recorded, which needs the unique indexes and the brokers' time."""
        return self.startup.is_done and self.broker_clock.is_known


async def build(settings: Settings) -> Service:
    """Build the service with all its components, not yet started."""
    components = Components(settings, await load_schemas(settings.schemas_dir, settings, SUBJECTS_BY_SCHEMA))
    consumer = build_consumer(components)
    health = Health()
    health.ready_when("clock", lambda: components.broker_clock.ready)
    health.ready_when("kafka", lambda: components.producer.ready)
    health.ready_when("mongodb", lambda: components.startup.is_done and components.mongo.ready)
    components.security.register_health_checks(health)
    health.live_while("consumer", lambda: consumer.alive)
    return Service(
        name="webhooks",
        health=health,
        components=(
            operations_server(health, host=settings.operations_host, port=settings.operations_port),
            components.mongo,
            components.startup,
            ChangeStreamListener(components.mongo, components.notifier, clock_s=time.monotonic),
            components.producer,
            components.broker_clock,
            *components.security.components,
            components.rate_limit,
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
        dead_letters=DeadLetters(components.producer, group=GROUP),
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
        rate_limit=components.rate_limit,
        requests_per_second=settings.webhooks_requests_per_second,
    )
    feed = FeedApi(
        deps=read_feed.Deps(feed=FeedLoader(components.feed), waiters=components.notifier, clock_s=time.monotonic),
        authenticator=authenticator,
        cursors=Cursors(settings.page_token_key.get_secret_value()),
        openapi=settings.schemas_dir / "openapi" / "events.yaml",
    )
    return HttpServer(build_application(feed.routes()), host=settings.http_host, port=settings.http_port)
