"""Confluent's client in the test's process: arbitrary bytes and headers."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from tests.e2e.external_producer import SETTINGS, SUBMITTED, orders
from tests.e2e.installation import Installation


class RawRecord(NamedTuple):
    """Value and headers of a record for the topic of submitted orders."""

    value: bytes
    headers: Mapping[str, str] = {}


def serialize_orders(installation: Installation, job_id: str, changes: Sequence[Mapping[str, Any]]) -> list[bytes]:
    """Serialize the orders of a job with Confluent's serializer, one for each set of changes."""
    with SchemaRegistryClient({"url": installation.endpoints["registry_url"]}) as client:
        serializer = AvroSerializer(client, conf=SETTINGS["latest"])
        context = SerializationContext(SUBMITTED, MessageField.VALUE)
        return [
            serializer({**order, **changed}, context)
            for order, changed in zip(orders(job_id, len(changes)), changes, strict=True)
        ]


def produce(installation: Installation, records: Iterable[RawRecord], *, partition: int = 0) -> None:
    """Produce records to one partition, in order; return once they are acknowledged."""
    failures: list[Any] = []
    producer = Producer({"bootstrap.servers": installation.endpoints["kafka_bootstrap_servers"]})
    for value, headers in records:
        producer.produce(
            SUBMITTED,
            value=value,
            partition=partition,
            headers=list(headers.items()),
            on_delivery=lambda error, _: failures.append(error) if error else None,
        )
    assert producer.flush(30) == 0
    assert not failures, failures
