"""The validator, put together."""

import time

import pycountry

from services import topics
from services.chassis.consumer import Consumer
from services.chassis.deadletter import DeadLetters
from services.chassis.health import Health
from services.chassis.lifecycle import Service
from services.chassis.producer import Producer
from services.chassis.registry import Schemas
from services.chassis.table import Table
from services.chassis.web import operations
from services.validator.catalogue import CatalogueTable
from services.validator.flow import World
from services.validator.publisher import KafkaPublisher
from services.validator.settings import Settings
from services.validator.wire import Encoder, WireReader
from services.validator.worker import KINDS, Worker


async def compose(settings: Settings) -> Service:
    """All parts of the service, not yet started."""
    schemas = Schemas.load(settings.schemas_dir)
    catalogue = CatalogueTable()
    catalogue_table = Table(settings, topics.CATALOG_PRODUCTS.name, catalogue.apply, client_id="validator")
    # Nothing waits behind a batch that could join it, so lingering would only cost time.
    producer = Producer(settings, client_id="validator", linger_ms=0)
    world = World(
        reader=WireReader(schemas),
        catalogue=catalogue,
        publisher=KafkaPublisher(producer, Encoder(schemas), DeadLetters(producer, group=settings.validator_group)),
        currencies=frozenset(currency.alpha_3 for currency in pycountry.currencies),
        largest_job=settings.largest_job,
        now_us=lambda: time.time_ns() // 1000,
    )
    consumer = Consumer(
        settings,
        Worker(world),
        group=settings.validator_group,
        topics=list(KINDS),
        client_id="validator",
        # Without the catalogue every record would be rejected.
        may_begin=lambda: catalogue_table.ready and producer.ready,
    )
    health = Health()
    health.ready_when("kafka", lambda: producer.ready)
    health.ready_when("catalogue", lambda: catalogue_table.ready)
    health.ready_when("group", lambda: consumer.ready)
    health.live_while("consumer", lambda: consumer.alive)
    return Service(
        name="validator",
        health=health,
        parts=(
            operations(health, host=settings.operations_host, port=settings.operations_port),
            producer,
            catalogue_table,
            consumer,
        ),
    )
