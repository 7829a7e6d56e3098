"""Composition root of status."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from services import topics
from services.chassis.avro.registry_client import load_schemas
from services.chassis.http.page_limits import PageLimits
from services.chassis.http.paging import PageTokenCodec
from services.chassis.http.rate_limit import RateLimit
from services.chassis.http.server import HttpServer, build_application, operations_server
from services.chassis.http.shared_rate_limit import SharedRateLimit
from services.chassis.kafka.broker_clock import BrokerClock
from services.chassis.kafka.consumer import Consumer
from services.chassis.kafka.dead_letter_limit import DeadLetterLimit
from services.chassis.kafka.dead_letters import DeadLetters
from services.chassis.kafka.producer import Producer
from services.chassis.mongodb.client import Mongo
from services.chassis.mongodb.key_check import verify_page_token_key
from services.chassis.runtime.background import PeriodicTask, StartupTask
from services.chassis.runtime.clock import now_us
from services.chassis.runtime.health import Health
from services.chassis.runtime.lifecycle import Service
from services.chassis.security.access import RequestSecurity
from services.chassis.security.authentication import RequestAuthenticator
from services.status.adapters.consumer_progress import KafkaConsumerProgress
from services.status.adapters.job_loader import JobLoader
from services.status.adapters.job_store import MongoJobStore
from services.status.adapters.notifier import JobChangeListener, JobNotifier
from services.status.adapters.publisher import KafkaFinishedPublisher, KafkaPublisher
from services.status.adapters.site_profiles import CachedSiteProfiles
from services.status.background import Sweeper, update_open_jobs_gauge
from services.status.flows import apply_events, expire_jobs, queries
from services.status.http.jobs import StatusApi
from services.status.ports import JobReader
from services.status.settings import Settings
from services.status.wire import EventCodec, FinishedCodec
from services.status.worker import Worker
from services.topics import SUBJECTS_BY_SCHEMA

AUDIENCE = "common-status"
GROUP = "status"
POLL_TIMEOUT_MS = 50
OPEN_JOBS_INTERVAL_S = 5.0
# A job whose records still wait in these topics is not overdue.
UPSTREAM_TOPICS = (topics.ORDERS_SUBMITTED.name, topics.RETURNS_SUBMITTED.name)


async def build(settings: Settings) -> Service:
    """Build the service with all its components, not yet started."""
    schemas = await load_schemas(settings.schemas_dir, settings, SUBJECTS_BY_SCHEMA)
    # Every write is conditional and retried by its caller; the driver's own retries would cost twice the time.
    mongo = Mongo.connect(settings, retry_writes=False)
    producer = Producer(settings, client_id=GROUP)
    broker_clock = BrokerClock(producer, max_offset_s=settings.kafka_max_clock_offset_s)
    jobs = MongoJobStore(mongo, now=broker_clock.now)
    create_indexes = StartupTask(
        [
            partial(verify_page_token_key, mongo, settings.page_token_key, service=GROUP),
            partial(jobs.create_indexes, retention_days=settings.status_retention_days),
        ]
    )
    security = RequestSecurity(
        schemas,
        kafka=settings,
        tokens=settings,
        sites=topics.AUTH_SITES,
        revocations=topics.AUTH_REVOCATIONS,
        audience=AUDIENCE,
        client_id=GROUP,
        now=broker_clock.now_s,
    )
    notifier = JobNotifier(max_waiters=settings.status_max_waiters)
    codec = EventCodec(schemas)
    dead_letter_limit = DeadLetterLimit.from_settings(settings)
    worker = Worker(
        apply_events.Deps(
            jobs=jobs,
            site_profiles=CachedSiteProfiles(security.sites),
            notifier=notifier,
            finished=KafkaFinishedPublisher(producer, FinishedCodec(schemas), topic=topics.JOBS_FINISHED.name),
            now_us=broker_clock.now_us,
        ),
        codec=codec,
        dead_letters=DeadLetters(producer, group=GROUP),
        dead_letter_limit=dead_letter_limit,
        linger_s=settings.status_linger_ms / 1000,
        clock_s=time.monotonic,
    )
    consumer = Consumer(
        settings,
        worker,
        group=GROUP,
        topics=[topics.JOBS_EVENTS.name],
        client_id=GROUP,
        halted_partitions=lambda: dead_letter_limit.halted,
        # A job copies its site's configuration at its first write, so the sites must be loaded. It expires by the time
        # of its last write, so that must be the brokers'.
        start_when=lambda: security.sites_loaded and create_indexes.is_done and broker_clock.is_known,
        poll_timeout_ms=POLL_TIMEOUT_MS,
    )
    progress = KafkaConsumerProgress(
        settings,
        own=(GROUP, topics.JOBS_EVENTS.name),
        upstream=(settings.validator_group, UPSTREAM_TOPICS),
        client_id=GROUP,
    )
    publisher = KafkaPublisher(producer, codec, topic=topics.JOBS_EVENTS.name)
    sweeper = Sweeper(
        expire_jobs.Deps(jobs=jobs, progress=progress, publisher=publisher, now_us=broker_clock.now_us),
        deadline_s=settings.job_deadline_s,
    )
    rate_limit = SharedRateLimit.from_settings(settings)
    api = build_api(
        JobLoader(jobs),
        notifier,
        security.authenticator,
        # With another key, a page token would be refused for good.
        is_started=lambda: create_indexes.is_done,
        page_token_key=settings.page_token_key.get_secret_value(),
        rate_limit=rate_limit,
        requests_per_second=settings.status_requests_per_second,
        schemas_dir=settings.schemas_dir,
        now_us=broker_clock.now_us,
    )
    health = Health()
    health.ready_when("clock", lambda: broker_clock.ready)
    health.ready_when("kafka", lambda: producer.ready)
    health.ready_when("mongodb", lambda: create_indexes.is_done and mongo.ready)
    security.register_health_checks(health)
    health.live_while("consumer", lambda: consumer.alive)
    return Service(
        name="status",
        health=health,
        components=(
            operations_server(health, host=settings.operations_host, port=settings.operations_port),
            mongo,
            create_indexes,
            JobChangeListener(mongo, notifier, clock_s=time.monotonic),
            producer,
            broker_clock,
            *security.components,
            rate_limit,
            consumer,
            PeriodicTask(
                "open-jobs",
                partial(update_open_jobs_gauge, jobs.count_open),
                interval_s=OPEN_JOBS_INTERVAL_S,
                start_when=lambda: create_indexes.is_done,
            ),
            PeriodicTask(
                "expiry",
                sweeper.sweep,
                interval_s=sweeper.interval_s,
                start_when=lambda: create_indexes.is_done and broker_clock.is_known,
            ),
            HttpServer(build_application(api.routes()), host=settings.http_host, port=settings.http_port),
            # Stopped first: waiting requests are answered while the server still lets requests finish.
            notifier,
        ),
    )


def build_api(
    jobs: JobReader,
    notifier: JobNotifier,
    authenticator: RequestAuthenticator,
    *,
    is_started: Callable[[], bool] = lambda: True,
    page_token_key: str,
    rate_limit: SharedRateLimit | None = None,
    requests_per_second: int,
    schemas_dir: Path,
    now_us: Callable[[], int] = now_us,
    clock_s: Callable[[], float] = time.monotonic,
) -> StatusApi:
    """Build the HTTP API alone."""
    return StatusApi(
        deps=queries.Deps(jobs=jobs, waiters=notifier, now_us=now_us, clock_s=clock_s),
        authenticator=authenticator,
        is_started=is_started,
        tokens=PageTokenCodec(page_token_key, salt="status.page"),
        rate_limit=rate_limit or SharedRateLimit(RateLimit(), url=None),
        requests_per_second=requests_per_second,
        openapi=schemas_dir / "openapi" / "common-status.yaml",
        page_limits=PageLimits("the job status API", authenticator.recent_clients),
    )
