"""Composition root of the validator."""

from services import topics
from services.chassis.avro.registry_client import SchemaRegistryClient, load_schemas
from services.chassis.http.server import HttpServer, build_application, operations_server
from services.chassis.kafka.broker_clock import BrokerClock
from services.chassis.kafka.compacted_table import CompactedTable
from services.chassis.kafka.consumer import Consumer
from services.chassis.kafka.dead_letter_limit import DeadLetterLimit
from services.chassis.kafka.dead_letters import DeadLetters
from services.chassis.kafka.producer import Producer
from services.chassis.runtime.currencies import load_all_currencies
from services.chassis.runtime.health import Health
from services.chassis.runtime.lifecycle import Service
from services.topics import SUBJECTS_BY_SCHEMA
from services.validator.adapters.catalogue import CatalogueTable
from services.validator.adapters.publisher import KafkaPublisher
from services.validator.adapters.record_reader import SubmittedRecordReader
from services.validator.flow import Deps
from services.validator.http.verdicts import MAX_REQUEST_BYTES, VerdictApi
from services.validator.settings import Settings
from services.validator.wire import Encoder
from services.validator.worker import KINDS, Worker


async def build(settings: Settings) -> Service:
    """Build the service with all its components, not yet started."""
    schemas = await load_schemas(settings.schemas_dir, settings, SUBJECTS_BY_SCHEMA)
    registry = SchemaRegistryClient(settings) if settings.schema_registry_url else None
    catalogue = CatalogueTable()
    catalogue_table = CompactedTable(settings, topics.CATALOG_PRODUCTS.name, catalogue.apply, client_id="validator")
    # The worker awaits every send before it sends more, so lingering would only add latency.
    producer = Producer(settings, client_id="validator", linger_ms=0)
    broker_clock = BrokerClock(producer, max_offset_s=settings.kafka_max_clock_offset_s)
    dead_letter_limit = DeadLetterLimit.from_settings(settings)
    deps = Deps(
        reader=SubmittedRecordReader(schemas, registry),
        catalogue=catalogue,
        publisher=KafkaPublisher(producer, Encoder(schemas), DeadLetters(producer, group=settings.validator_group)),
        dead_letter_limit=dead_letter_limit,
        currencies=load_all_currencies(),
        max_job_records=settings.max_job_records,
        now_us=broker_clock.now_us,
    )

    def can_judge() -> bool:
        # Without the catalogue every record would be rejected; without the brokers' time it would be judged at ours.
        return catalogue_table.ready and producer.ready and broker_clock.is_known

    verdicts = VerdictApi(deps, is_ready=can_judge, catalogue_as_of_ms=lambda: catalogue_table.newest_timestamp_ms)
    consumer = Consumer(
        settings,
        Worker(deps, dead_letter_limit),
        group=settings.validator_group,
        topics=list(KINDS),
        client_id="validator",
        halted_partitions=lambda: dead_letter_limit.halted,
        start_when=can_judge,
    )
    health = Health()
    health.ready_when("clock", lambda: broker_clock.ready)
    health.ready_when("kafka", lambda: producer.ready)
    health.ready_when("catalogue", lambda: catalogue_table.ready)
    health.ready_when("group", lambda: consumer.ready)
    health.live_while("consumer", lambda: consumer.alive)
    return Service(
        name="validator",
        health=health,
        components=(
            operations_server(health, host=settings.operations_host, port=settings.operations_port),
            *([registry] if registry else []),
            producer,
            broker_clock,
            catalogue_table,
            consumer,
            HttpServer(
                build_application(verdicts.routes(), max_body_bytes=MAX_REQUEST_BYTES),
                host=settings.http_host,
                port=settings.http_port,
            ),
        ),
    )
