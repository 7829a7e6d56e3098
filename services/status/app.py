"""Status, put together."""

import time
from datetime import UTC, datetime
from functools import partial

from services import topics
from services.chassis.avro.registry_client import load_schemas
from services.chassis.http.ratelimit import RateLimit
from services.chassis.http.server import HttpServer, build_application, operations_server
from services.chassis.kafka.consumer import Consumer
from services.chassis.kafka.dead_letter_limit import DeadLetterLimit
from services.chassis.kafka.dead_letters import DeadLetters
from services.chassis.kafka.producer import Producer
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.background import PeriodicTask, StartupTask
from services.chassis.runtime.clock import now_us
from services.chassis.runtime.health import Health
from services.chassis.runtime.lifecycle import Service
from services.chassis.security.access import RequestSecurity
from services.status.adapters.change_stream import ChangeStreamListener
from services.status.adapters.consumer_progress import KafkaConsumerProgress
from services.status.adapters.job_loader import JobLoader
from services.status.adapters.job_store import MongoJobStore
from services.status.adapters.notifier import JobNotifier
from services.status.adapters.publisher import KafkaPublisher
from services.status.adapters.site_profiles import CachedSiteProfiles
from services.status.background import Sweeper, update_open_jobs_gauge
from services.status.flows import apply_events, expire_jobs, queries
from services.status.http.jobs import StatusApi
from services.status.http.page_tokens import PageTokens
from services.status.settings import Settings
from services.status.wire import EventCodec
from services.status.worker import Worker
from services.topics import SUBJECTS_BY_SCHEMA

AUDIENCE = "common-status"
GROUP = "status"
POLL_TIMEOUT_MS = 50
OPEN_JOBS_INTERVAL_S = 5.0
# A job whose records still wait there is not overdue, however long it stood still.
UPSTREAM_TOPICS = (topics.ORDERS_SUBMITTED.name, topics.RETURNS_SUBMITTED.name)


async def build(settings: Settings) -> Service:
    """All parts of the service, not yet started."""
    schemas = await load_schemas(settings.schemas_dir, settings, SUBJECTS_BY_SCHEMA)
    # Every write is conditional and repeated by its caller; the driver's own retries would cost twice the time.
    mongo = Mongo.connect(settings, retry_writes=False)
    jobs = MongoJobStore(mongo, now=lambda: datetime.now(UTC))
    preparation = StartupTask([partial(jobs.create_indexes, retention_days=settings.status_retention_days)])
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
    bell = JobNotifier(max_waiters=settings.status_max_waiters)
    watch = ChangeStreamListener(mongo, bell, clock_s=time.monotonic)
    world = apply_events.Deps(jobs=jobs, site_profiles=CachedSiteProfiles(access.sites), notifier=bell, now_us=now_us)
    brake = DeadLetterLimit.from_settings(settings)
    codec = EventCodec(schemas)
    worker = Worker(
        world,
        codec=codec,
        dead_letters=DeadLetters(producer, group=GROUP),
        dead_letter_limit=brake,
        linger_s=settings.status_linger_ms / 1000,
        clock_s=time.monotonic,
    )
    consumer = Consumer(
        settings,
        worker,
        group=GROUP,
        topics=[topics.JOBS_EVENTS.name],
        client_id=GROUP,
        halted_partitions=lambda: brake.halted,
        # What a job is shown with is taken from its site at its first write: sites come first.
        start_when=lambda: access.sites_loaded and preparation.is_done,
        poll_timeout_ms=POLL_TIMEOUT_MS,
    )
    sweeper = Sweeper(
        expire_jobs.Deps(
            jobs=jobs,
            progress=KafkaConsumerProgress(
                settings,
                own=(GROUP, topics.JOBS_EVENTS.name),
                upstream=(settings.validator_group, UPSTREAM_TOPICS),
                client_id=GROUP,
            ),
            publisher=KafkaPublisher(producer, codec, topic=topics.JOBS_EVENTS.name),
            now_us=now_us,
        ),
        deadline_s=settings.job_deadline_s,
    )
    api = StatusApi(
        deps=queries.Deps(jobs=JobLoader(jobs), waiters=bell, now_us=now_us, clock_s=time.monotonic),
        authenticator=access.authenticator,
        tokens=PageTokens(settings.page_token_key.get_secret_value()),
        rate_limit=RateLimit(),
        requests_per_second=settings.status_requests_per_second,
        openapi=settings.schemas_dir / "openapi" / "common-status.yaml",
    )
    health = Health()
    health.ready_when("kafka", lambda: producer.ready)
    health.ready_when("mongodb", lambda: preparation.is_done and mongo.ready)
    access.register_health_checks(health)
    health.live_while("consumer", lambda: consumer.alive)
    return Service(
        name="status",
        health=health,
        components=(
            operations_server(health, host=settings.operations_host, port=settings.operations_port),
            mongo,
            preparation,
            watch,
            producer,
            *access.components,
            consumer,
            PeriodicTask("census", partial(update_open_jobs_gauge, jobs.count_open), interval_s=OPEN_JOBS_INTERVAL_S),
            PeriodicTask("expiry", sweeper.sweep, interval_s=sweeper.interval_s),
            HttpServer(build_application(api.routes()), host=settings.http_host, port=settings.http_port),
            # Stopped first: who waits is answered while requests in flight may still end.
            bell,
        ),
    )
