"""Composition root of ingest."""

from services import topics
from services.chassis.avro.registry_client import load_schemas
from services.chassis.http.idempotency import IdempotencyKeys
from services.chassis.http.server import HttpServer, build_application, operations_server
from services.chassis.http.shared_rate_limit import SharedRateLimit
from services.chassis.http.source_address import parse_networks
from services.chassis.kafka.broker_clock import BrokerClock
from services.chassis.kafka.producer import Producer
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.background import StartupTask
from services.chassis.runtime.currencies import load_all_currencies
from services.chassis.runtime.health import Health
from services.chassis.runtime.lifecycle import Service
from services.chassis.runtime.random_bytes import random_bytes
from services.chassis.security.access import RequestSecurity
from services.ingest.adapters.idempotency_store import MongoIdempotencyStore
from services.ingest.adapters.publisher import KafkaPublisher
from services.ingest.adapters.validator_client import ValidatorClient
from services.ingest.flows.accept import Deps
from services.ingest.http.imports import ImportApi, ImportOptions
from services.ingest.settings import Settings
from services.ingest.wire import Encoder
from services.schema_registry.api import registry_routes
from services.topics import SUBJECTS_BY_SCHEMA
from services.values.time_uuids import time_uuid

AUDIENCE = "omnichannel-api"


async def build(settings: Settings) -> Service:
    """Build the service with all its components, not yet started."""
    schemas = await load_schemas(settings.schemas_dir, settings, SUBJECTS_BY_SCHEMA)
    producer = Producer(settings, client_id="ingest")
    broker_clock = BrokerClock(producer, max_offset_s=settings.kafka_max_clock_offset_s)
    access = RequestSecurity(
        schemas,
        kafka=settings,
        tokens=settings,
        sites=topics.AUTH_SITES,
        revocations=topics.AUTH_REVOCATIONS,
        audience=AUDIENCE,
        client_id="ingest",
        now=broker_clock.now_s,
    )
    rate_limiter = SharedRateLimit.from_settings(settings)
    mongo = Mongo.connect(settings)
    idempotency_keys = IdempotencyKeys(mongo, scope=AUDIENCE, now=broker_clock.now)
    encoder = Encoder(schemas)
    validator = ValidatorClient(settings.validator_url, encoder, timeout_s=settings.validator_timeout_s)
    deps = Deps(
        publisher=KafkaPublisher(producer, encoder),
        rate_limiter=rate_limiter,
        idempotency=MongoIdempotencyStore(idempotency_keys),
        judge=validator,
        currencies=load_all_currencies(),
        strict_json=settings.strict_json,
        # The validator refuses records of jobs from the future, so a wrong local clock must not date them.
        now_us=broker_clock.now_us,
        new_job_id=new_job_id,
    )
    # Where an external schema registry is configured, it is the only one.
    own_registry = (
        []
        if settings.schema_registry_url
        else registry_routes(schemas, proxies=parse_networks(settings.trusted_proxies))
    )
    api = ImportApi(
        deps=deps,
        authenticator=access.authenticator,
        sites=access.sites,
        options=ImportOptions(
            accepted_status=settings.import_accepted_status,
            body_timeout_s=settings.body_timeout_s,
            require_gzip=settings.require_gzip,
            validate_only_records_per_second=settings.validate_only_records_per_second,
            max_bytes_in_flight=settings.max_bytes_in_flight,
            max_bytes_in_flight_per_client=settings.max_bytes_in_flight_per_client,
        ),
        openapi=settings.schemas_dir / "openapi" / "omnichannel.yaml",
    )
    health = Health()
    health.ready_when("clock", lambda: broker_clock.ready)
    health.ready_when("kafka", lambda: producer.ready)
    access.register_health_checks(health)
    return Service(
        name="ingest",
        health=health,
        components=(
            operations_server(health, host=settings.operations_host, port=settings.operations_port),
            producer,
            broker_clock,
            *access.components,
            rate_limiter,
            mongo,
            validator,
            StartupTask([idempotency_keys.create_indexes]),
            HttpServer(
                build_application([*api.routes(), *own_registry]),
                host=settings.http_host,
                port=settings.http_port,
                direct=api.direct,
            ),
        ),
    )


def new_job_id(created_at_us: int) -> str:
    """Return an unguessable id that contains the creation time."""
    bits = int.from_bytes(random_bytes()[:8], "little")
    return time_uuid(created_at_us, clock_seq=bits >> 48, node=bits)
