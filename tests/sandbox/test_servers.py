"""The servers that a test run shares are real and accept writes."""

import uuid
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from pymongo import AsyncMongoClient, WriteConcern
from pymongo.asynchronous.collection import AsyncCollection


async def test_a_record_goes_through_kafka(kafka_bootstrap: str) -> None:
    topic = f"servers-{uuid.uuid4().hex}"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=kafka_bootstrap, acks="all", enable_idempotence=True) as producer:
        await producer.send_and_wait(topic, b"x")
    async with AIOKafkaConsumer(
        topic, bootstrap_servers=kafka_bootstrap, group_id=topic, auto_offset_reset="earliest", enable_auto_commit=False
    ) as consumer:
        record = await consumer.getone()
        assert record.value == b"x"


async def test_mongodb_takes_majority_writes_and_has_a_change_stream(mongodb_uri: str) -> None:
    client: AsyncMongoClient[dict[str, Any]]
    async with AsyncMongoClient(mongodb_uri) as client:
        things: AsyncCollection[dict[str, Any]] = client[f"servers-{uuid.uuid4().hex}"].get_collection(
            "things", write_concern=WriteConcern(w="majority", j=True)
        )
        async with await things.watch() as changes:
            await things.insert_one({"_id": "one"})
            change = await changes.next()
        assert change["documentKey"] == {"_id": "one"}
