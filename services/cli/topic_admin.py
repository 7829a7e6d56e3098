"""Counts the partitions of the cluster's topics, and creates missing topics."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, for_code

from services.chassis.kafka.connection_options import connection_options
from services.chassis.kafka.topic import Topic
from services.chassis.runtime.errors import UnavailableError
from services.cli.settings import CliSettings

_TOPIC_ALREADY_EXISTS = 36


async def count_partitions(settings: CliSettings) -> Mapping[str, int]:
    """Return the number of partitions of each topic in the cluster. Raises `UnavailableError`."""
    async with _connect(settings) as admin:
        topics = await admin.describe_topics(list(await admin.list_topics()))
    return {topic["topic"]: len(topic["partitions"]) for topic in topics}


async def create(topics: Iterable[Topic], settings: CliSettings) -> list[str]:
    """Create missing topics in one request and return their names.

    Raises `UnavailableError`, or the `KafkaError` with which the brokers refused a topic.
    """
    new_topics = [_to_new_topic(topic, settings) for topic in topics]
    async with _connect(settings) as admin:
        response = await admin.create_topics(new_topics)
    created = []
    for name, code, *reason in response.topic_errors:
        if code == 0:
            created.append(name)
        elif code != _TOPIC_ALREADY_EXISTS:
            raise for_code(code)(f"topic {name}: {' '.join(str(part) for part in reason)}")
    return created


def _to_new_topic(topic: Topic, settings: CliSettings) -> NewTopic:
    return NewTopic(
        topic.name,
        topic.partitions or settings.topic_partitions,
        settings.topic_replication_factor,
        topic_configs={**topic.config, "min.insync.replicas": str(settings.topic_min_insync_replicas)},
    )


@asynccontextmanager
async def _connect(settings: CliSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(**connection_options(settings), client_id="operator")
    try:
        try:
            await client.start()
        except (KafkaError, OSError) as error:
            raise UnavailableError("Kafka") from error
        yield client
    finally:
        await client.close()
