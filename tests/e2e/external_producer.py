"""A producer and consumer in a process of its own that uses Confluent's client and nothing of this project.

Arguments: bootstrap servers, registry, job id, number of orders, and `registering` (the serializer's defaults),
`latest` (as the documents recommend) or `headers` (the schema's id in a header, as newer clients support). It produces
a job of orders, consumes the validated topic until all orders are back, and fails if one is missing, duplicated or
changed.
"""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from time import monotonic
from typing import Any

from confluent_kafka import Consumer, Producer
from confluent_kafka.schema_registry import SchemaRegistryClient, header_schema_id_serializer
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

SUBMITTED, VALIDATED = "orders.submitted.v1", "orders.validated.v1"
TIMEOUT_S = 60.0
RECOMMENDED = {"auto.register.schemas": False, "use.latest.version": True}
SETTINGS: dict[str, dict[str, Any]] = {
    "registering": {},
    "latest": RECOMMENDED,
    "headers": {**RECOMMENDED, "schema.id.serializer": header_schema_id_serializer},
}


def orders(job_id: str, total: int) -> Iterator[dict[str, Any]]:
    now = datetime.now(UTC) - timedelta(minutes=1)
    job = {"jobId": job_id, "total": total, "createdAt": now, "mode": "offline", "type": "orders"}
    for index in range(total):
        yield {
            "site": 608,
            "job": {**job, "index": index},
            "acceptedAt": now + timedelta(microseconds=index),
            "id": f"{job_id}-{index}",
            "channel": None if index % 3 else "till",
            "userId": f"Müller-{index}",
            "dateTime": now,
            "utcOffsetMinutes": 540,
            "mode": "offline" if index % 5 else "online",
            "paymentMethod": "Credit card",
            "paymentKind": "credit",
            "emailHash": f"{index:064x}",
            "ccHash": None,
            "storeId": "Store 1",
            "regionId": -1,
            "segmentIds": ["44", "55"],
            "segmentNames": [],
            "currency": "USD",
            "couponCode": None,
            "couponValue": Decimal("23.760000"),
            "lineItems": [
                {"productId": "4556", "skuId": f"s{index}", "quantity": 1 + index, "unitPrice": Decimal("256.678000")}
            ],
        }


def main(bootstrap: str, registry: str, job_id: str, count: str, mode: str) -> None:
    """Produce, consume, compare."""
    total = int(count)
    with SchemaRegistryClient({"url": registry}) as client:
        text = client.get_latest_version(f"{SUBMITTED}-value").schema.schema_str
        serializer = AvroSerializer(client, text, conf=SETTINGS[mode])
        deserializer = AvroDeserializer(client)
        written = write(bootstrap, serializer, orders(job_id, total))
        read(bootstrap, deserializer, written)
    sys.stdout.write(f"{len(written)} orders came back unchanged\n")


def write(bootstrap: str, serializer: AvroSerializer, made: Iterator[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    failures: list[Any] = []

    def delivered(error: Any, _: Any) -> None:
        if error:
            failures.append(error)

    producer = Producer({"bootstrap.servers": bootstrap})
    written = {}
    for order in made:
        context = SerializationContext(SUBMITTED, MessageField.VALUE, [])
        value = serializer(order, context)
        key = f"608|{order['channel'] or ''}|{order['id']}"
        producer.produce(SUBMITTED, key=key, value=value, headers=context.headers, on_delivery=delivered)
        producer.poll(0)
        written[order["id"]] = order
    assert producer.flush(TIMEOUT_S) == 0, "not all was delivered"
    assert not failures, failures[:3]
    return written


def read(bootstrap: str, deserializer: AvroDeserializer, written: dict[str, dict[str, Any]]) -> None:
    job_id = next(iter(written.values()))["job"]["jobId"]
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": job_id, "auto.offset.reset": "earliest"})
    consumer.subscribe([VALIDATED])
    missing, deadline = set(written), monotonic() + TIMEOUT_S
    while missing:
        assert monotonic() < deadline, f"{len(missing)} orders did not come back"
        for message in consumer.consume(1000, 0.2):
            assert message.error() is None, message.error()
            order: Any = deserializer(message.value(), SerializationContext(VALIDATED, MessageField.VALUE))
            if order["job"] is None or order["job"]["jobId"] != job_id:
                continue
            assert order["id"] in missing, "an order came twice"
            assert order == written[order["id"]], order
            assert ("verdict", b"accepted") in list(message.headers() or ())
            missing.discard(order["id"])
    consumer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
