"""Produces a job of two orders with Confluent's client and prints its id; see docs/producers.md."""

import os
from datetime import UTC, datetime
from decimal import Decimal
from uuid import uuid1

from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

TOPIC = "orders.submitted.v1"

registry = SchemaRegistryClient({"url": os.environ["REGISTRY"]})
serializer = AvroSerializer(registry, conf={"auto.register.schemas": False, "use.latest.version": True})
producer = Producer({"bootstrap.servers": os.environ["KAFKA"], "acks": "all", "partitioner": "murmur2_random"})

now = datetime.now(UTC)
job_id = str(uuid1())
for index in range(2):
    order = {
        "site": 608,
        "job": {
            "jobId": job_id,
            "index": index,
            "total": 2,
            "createdAt": now,
            "mode": "offline",
            "type": "orders",
        },
        "acceptedAt": now,
        "id": f"{job_id}-{index}",
        "channel": "till 7",
        "userId": "u1",
        "dateTime": now,
        "utcOffsetMinutes": 60,
        "mode": "offline",
        "segmentIds": [],
        "segmentNames": [],
        "currency": "EUR",
        "lineItems": [{"productId": "4556", "quantity": 2, "unitPrice": Decimal("256.678000")}],
    }
    value = serializer(order, SerializationContext(TOPIC, MessageField.VALUE))
    producer.produce(TOPIC, key=f"608|till 7|{order['id']}", value=value)
if producer.flush(30):
    raise SystemExit("not everything was acknowledged")
registry.close()
print(job_id)
