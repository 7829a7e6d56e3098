"""A producer for the tests of producers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from services.chassis.kafka.producer import RECONNECTS, Producer
from tests.chassis.kafka.kafka_fixtures import settings


@asynccontextmanager
async def running_producer(bootstrap: str, *, wait: bool = True, **changes: Any) -> AsyncIterator[Producer]:
    producer = Producer(settings(bootstrap, **changes), client_id="test")
    await producer.start()
    try:
        if wait:
            await producer.wait_ready(20)
        yield producer
    finally:
        await producer.stop()


def reconnects() -> float:
    return next(sample.value for family in RECONNECTS.collect() for sample in family.samples)
