"""Composition root of the operator's API."""

import secrets
from functools import partial

from services import topics
from services.chassis.avro.registry_client import load_schemas
from services.chassis.avro.schemas import Schemas
from services.chassis.http.server import HttpServer, build_application, operations_server
from services.chassis.http.source_address import parse_networks
from services.chassis.kafka.broker_clock import BrokerClock
from services.chassis.kafka.producer import Producer
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.background import StartupTask
from services.chassis.runtime.health import Health
from services.chassis.runtime.lifecycle import Service
from services.chassis.security.access import RequestSecurity
from services.operator.adapters.dead_letter_topics import KafkaDeadLetterTopics
from services.operator.adapters.stores import MongoAuditTrail, MongoReplayStore
from services.operator.adapters.topics import KafkaTopics
from services.operator.background import ReplayWorker
from services.operator.flows.replays import Deps
from services.operator.http.api import OperatorApi
from services.operator.settings import Settings
from services.topics import SUBJECTS_BY_SCHEMA

NAME = topics.OPERATOR
# Tokens of auth's admin API: it issues them, on its internal port, to those who administer the installation.
AUDIENCE = "auth-admin"
new_id = partial(secrets.token_hex, 8)


async def build(settings: Settings) -> Service:
    """Build the service with all its components, not yet started."""
    schemas = await load_schemas(settings.schemas_dir, settings, SUBJECTS_BY_SCHEMA)
    mongo = Mongo.connect(settings)
    producer = Producer(settings, client_id=NAME)
    clock = BrokerClock(producer, max_offset_s=settings.kafka_max_clock_offset_s)
    days = settings.operator_audit_days
    replays = MongoReplayStore(mongo, now_us=clock.now_us, days=days)
    audit = MongoAuditTrail(mongo, now_us=clock.now_us, new_id=new_id, days=days)
    startup = StartupTask([replays.create_indexes, audit.create_indexes])
    security = build_security(settings, schemas, clock)
    letters = KafkaDeadLetterTopics(settings, producer, schemas, max_scanned=settings.operator_max_scanned)
    deps = Deps(
        replays=replays,
        letters=letters,
        audit=audit,
        now_us=clock.now_us,
        new_id=new_id,
        owner=new_id(),
        wake=lambda: worker.wake(),  # noqa: PLW0108 - the worker needs these first
    )
    worker = ReplayWorker(deps, start_when=lambda: startup.is_done and clock.is_known)
    api = OperatorApi(
        authenticator=security.authenticator,
        is_started=lambda: startup.is_done,
        topics=KafkaTopics(settings, now_us=clock.now_us),
        deps=deps,
        proxies=parse_networks(settings.trusted_proxies),
        openapi=settings.schemas_dir / "openapi" / "operator.yaml",
    )
    health = Health()
    health.ready_when("clock", lambda: clock.ready)
    health.ready_when("kafka", lambda: producer.ready)
    health.ready_when("mongodb", lambda: startup.is_done and mongo.ready)
    security.register_health_checks(health)
    return Service(
        name=NAME,
        health=health,
        components=(
            operations_server(health, host=settings.operations_host, port=settings.operations_port),
            mongo,
            startup,
            producer,
            clock,
            *security.components,
            worker,
            HttpServer(build_application(api.routes()), host=settings.http_host, port=settings.http_port),
        ),
    )


def build_security(settings: Settings, schemas: Schemas, clock: BrokerClock) -> RequestSecurity:
    """Build the verification of operators' tokens."""
    return RequestSecurity(
        schemas,
        kafka=settings,
        tokens=settings,
        sites=topics.AUTH_SITES,
        revocations=topics.AUTH_REVOCATIONS,
        audience=AUDIENCE,
        client_id=NAME,
        now=clock.now_s,
    )
