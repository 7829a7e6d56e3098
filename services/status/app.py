"""Status, put together."""

import time
from datetime import UTC, datetime
from functools import partial

from services import topics
from services.chassis.access import Access
from services.chassis.brake import Brake
from services.chassis.confluent import schemas_of
from services.chassis.consumer import Consumer
from services.chassis.deadletter import DeadLetters
from services.chassis.health import Health
from services.chassis.lifecycle import Service
from services.chassis.mongo import Mongo
from services.chassis.preparation import Preparation
from services.chassis.producer import Producer
from services.chassis.ratelimit import RateLimit
from services.chassis.upkeep import Upkeep
from services.chassis.web import Listener, application, operations
from services.status import expiring, flow, reading
from services.status.api import StatusApi
from services.status.avro import EventReader, EventWriter
from services.status.backlog import KafkaBacklog
from services.status.bell import HandBell
from services.status.census import take_census
from services.status.gathering import Gathering
from services.status.origins import SiteOrigins
from services.status.pages import PageTokens
from services.status.publisher import KafkaPublisher
from services.status.settings import Settings
from services.status.store import MongoJobs
from services.status.sweeper import Sweeper
from services.status.watch import ChangeWatch
from services.status.worker import Worker
from services.subjects import SUBJECTS_OF

AUDIENCE = "common-status"
GROUP = "status"
POLL_TIMEOUT_MS = 50
CENSUS_EVERY_S = 5.0
# A job whose records still wait there is not overdue, however long it stood still.
VALIDATED_FIRST = (topics.ORDERS_SUBMITTED.name, topics.RETURNS_SUBMITTED.name)


async def compose(settings: Settings) -> Service:
    """All parts of the service, not yet started."""
    schemas = await schemas_of(settings.schemas_dir, settings, SUBJECTS_OF)
    # Every write is conditional and repeated by its caller; the driver's own retries would cost twice the time.
    mongo = Mongo.connect(settings, retry_writes=False)
    jobs = MongoJobs(mongo, now=lambda: datetime.now(UTC))
    preparation = Preparation([partial(jobs.prepare, retention_days=settings.status_retention_days)])
    producer = Producer(settings, client_id=GROUP)
    access = Access(
        schemas,
        kafka=settings,
        tokens=settings,
        sites=topics.AUTH_SITES,
        revocations=topics.AUTH_REVOCATIONS,
        audience=AUDIENCE,
        client_id=GROUP,
    )
    bell = HandBell(most=settings.status_most_waiters)
    watch = ChangeWatch(mongo, bell, clock_s=time.monotonic)
    world = flow.World(jobs=jobs, origins=SiteOrigins(access.sites), bell=bell, now_us=now_us)
    brake = Brake(
        most_in_row=settings.dead_letters_in_row,
        window=settings.dead_letters_window,
        share=settings.dead_letters_share,
    )
    worker = Worker(
        world,
        reader=EventReader(schemas),
        dead_letters=DeadLetters(producer, group=GROUP),
        brake=brake,
        linger_s=settings.status_linger_ms / 1000,
        clock_s=time.monotonic,
    )
    consumer = Consumer(
        settings,
        worker,
        group=GROUP,
        topics=[topics.JOBS_EVENTS.name],
        client_id=GROUP,
        stopped=lambda: brake.stopped,
        # What a job is shown with is taken from its site at its first write: sites come first.
        may_begin=lambda: access.knows_sites and preparation.is_done,
        poll_timeout_ms=POLL_TIMEOUT_MS,
    )
    sweeper = Sweeper(
        expiring.World(
            jobs=jobs,
            backlog=KafkaBacklog(
                settings,
                own=(GROUP, topics.JOBS_EVENTS.name),
                before=(settings.validator_group, VALIDATED_FIRST),
                client_id=GROUP,
            ),
            ending=KafkaPublisher(producer, EventWriter(schemas), topic=topics.JOBS_EVENTS.name),
            now_us=now_us,
        ),
        deadline_s=settings.job_deadline_s,
    )
    api = StatusApi(
        world=reading.World(jobs=Gathering(jobs), waiting=bell, now_us=now_us, clock_s=time.monotonic),
        verifier=access.verifier,
        sites=access.sites,
        tokens=PageTokens(settings.page_token_key.get_secret_value()),
        gate=RateLimit(),
        requests_per_second=settings.status_requests_per_second,
        openapi=settings.schemas_dir / "openapi" / "common-status.yaml",
    )
    health = Health()
    health.ready_when("kafka", lambda: producer.ready)
    health.ready_when("mongodb", lambda: preparation.is_done and mongo.ready)
    access.heeded_by(health)
    health.live_while("consumer", lambda: consumer.alive)
    return Service(
        name="status",
        health=health,
        parts=(
            operations(health, host=settings.operations_host, port=settings.operations_port),
            mongo,
            preparation,
            watch,
            producer,
            *access.parts,
            consumer,
            Upkeep("census", partial(take_census, jobs.open_jobs), every_s=CENSUS_EVERY_S),
            Upkeep("expiry", sweeper.sweep, every_s=sweeper.every_s),
            Listener(application(api.routes()), host=settings.http_host, port=settings.http_port),
            # Stopped first: who waits is answered while requests in flight may still end.
            bell,
        ),
    )


def now_us() -> int:
    """The time of day."""
    return time.time_ns() // 1000
