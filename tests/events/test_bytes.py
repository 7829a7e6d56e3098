"""Our encoder and Confluent's serializer write the same bytes for the same record."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
import pytest
from confluent_kafka.schema_registry import RegisteredSchema, Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from hypothesis import HealthCheck, given, settings

from services.chassis.avro import schemas
from services.sales.records import Order, Return
from services.sales.wire import order_codec, return_codec
from tests.events.harness import SCHEMAS
from tests.sales.strategies import ORDERS, RETURNS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMES = frozenset({"acceptedAt", "createdAt", "dateTime"})
ORDER_CODEC = order_codec(SCHEMAS["order"].definition, prefix=SCHEMAS["order"].prefix)
RETURN_CODEC = return_codec(SCHEMAS["return"].definition, prefix=SCHEMAS["return"].prefix)


class FakeRegistryClient(SchemaRegistryClient):
    """Confluent's client, with one schema and without a registry."""

    def __init__(self, version: schemas.Schema) -> None:
        super().__init__({"url": "http://127.0.0.1:1"})
        self._version = version

    def get_latest_version(self, subject_name: str, fmt: str | None = None) -> RegisteredSchema:
        del fmt
        version = self._version
        return RegisteredSchema(
            subject=subject_name,
            version=version.number,
            schema_id=version.schema_id,
            guid=str(version.global_id),
            schema=Schema(version.text, "AVRO"),
        )

    def get_schema(self, *_: Any, **__: Any) -> Schema:
        return Schema(self._version.text, "AVRO")

    def get_associations_by_resource_name(self, *_: Any, **__: Any) -> list[Any]:
        return []


def to_python(value: Any, name: str = "") -> Any:
    """Convert a record to what a Python producer would pass to the serializer."""
    if isinstance(value, msgspec.Struct):
        return {_camel(own): to_python(getattr(value, own), _camel(own)) for own in value.__struct_fields__}
    if isinstance(value, list):
        return [to_python(item) for item in value]
    return _EPOCH + timedelta(microseconds=value) if name in _TIMES else value


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(part.title() for part in others)


class Serdes(NamedTuple):
    """Confluent's serializer and deserializer of one topic."""

    topic: str
    write: AvroSerializer
    read: AvroDeserializer


@pytest.fixture(scope="module")
def serdes() -> Iterator[dict[str, Serdes]]:
    made = {}
    with ExitStack() as stack:
        for name, topic in (("order", "orders.submitted.v1"), ("return", "returns.submitted.v1")):
            version = SCHEMAS[name]
            client = stack.enter_context(FakeRegistryClient(version))
            conf = {"auto.register.schemas": False, "use.latest.version": True}
            made[name] = Serdes(topic, AvroSerializer(client, version.text, conf=conf), AvroDeserializer(client))
        yield made


def check(record: Order | Return, serdes: Serdes, written: bytes) -> None:
    context, value = SerializationContext(serdes.topic, MessageField.VALUE), to_python(record)
    assert serdes.write(value, context) == written
    assert _normalize(serdes.read(written, context)) == _normalize(value)


def _normalize(value: Any) -> Any:
    """Make tuples and lists equal; decimals compare by value anyway."""
    if isinstance(value, dict):
        return {name: _normalize(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_normalize(item) for item in value]
    return value.normalize() if isinstance(value, Decimal) else value


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ORDERS)
def test_an_order_has_the_bytes_that_confluents_serializer_writes(serdes: dict[str, Serdes], order: Order) -> None:
    check(order, serdes["order"], ORDER_CODEC.encode(order))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(RETURNS)
def test_a_return_has_the_bytes_that_confluents_serializer_writes(serdes: dict[str, Serdes], record: Return) -> None:
    check(record, serdes["return"], RETURN_CODEC.encode(record))
