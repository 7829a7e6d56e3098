"""Compares the declared topics with the cluster's and creates missing ones."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, for_code

from services.chassis.kafka.producer import connection_options
from services.chassis.kafka.topic import Topic
from services.chassis.runtime.errors import UnavailableError
from services.cli.settings import CliSettings

_TOPIC_ALREADY_EXISTS = 36


@dataclass(frozen=True, slots=True)
class TopicState:
    """A declared topic, its current number of partitions (0: it does not exist) and the number it would get."""

    topic: Topic
    current_partitions: int
    planned_partitions: int


async def plan(topics: Iterable[Topic], settings: CliSettings) -> list[TopicState]:
    """Return the state of each topic. Raises `UnavailableError`."""
    declared = list(topics)
    async with _Admin(settings) as admin:
        current = await _partition_counts(admin)
    return [
        TopicState(topic, current.get(topic.name, 0), topic.partitions or settings.topic_partitions)
        for topic in declared
    ]


async def create(topics: Iterable[Topic], settings: CliSettings) -> list[str]:
    """Create missing topics in one request and return their names.

    Raises `UnavailableError`, or the `KafkaError` with which the brokers refused a topic.
    """
    new_topics = [_to_new_topic(topic, settings) for topic in topics]
    async with _Admin(settings) as admin:
        response = await admin.create_topics(new_topics)
    created = []
    for name, code, *reason in response.topic_errors:
        if code == 0:
            created.append(name)
        elif code != _TOPIC_ALREADY_EXISTS:
            raise for_code(code)(f"topic {name}: {' '.join(str(part) for part in reason)}")
    return created


def _to_new_topic(topic: Topic, settings: CliSettings) -> NewTopic:
    config = {**topic.config, "min.insync.replicas": str(settings.topic_min_insync_replicas)}
    return NewTopic(
        topic.name,
        topic.partitions or settings.topic_partitions,
        settings.topic_replication_factor,
        topic_configs=config,
    )


async def _partition_counts(admin: AIOKafkaAdminClient) -> Mapping[str, int]:
    names = await admin.list_topics()
    return {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics(list(names))}


class _Admin:
    """An admin client for the duration of a `with` block. Raises `UnavailableError` if it cannot connect."""

    def __init__(self, settings: CliSettings) -> None:
        self._client = AIOKafkaAdminClient(**connection_options(settings), client_id="operator")

    async def __aenter__(self) -> AIOKafkaAdminClient:
        try:
            await self._client.start()
        except (KafkaError, OSError) as error:
            await self._client.close()
            raise UnavailableError("Kafka") from error
        return self._client

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()
