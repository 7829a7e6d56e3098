"""Creates the topics that are missing; says what is there and what would be done."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, for_code

from services.chassis.kafka.producer import connection_options
from services.chassis.kafka.topic import Topic
from services.chassis.runtime.errors import UnavailableError
from services.cli.settings import OperatorSettings

_EXISTS = 36


@dataclass(frozen=True, slots=True)
class Planned:
    """One topic, with the partitions it has (0: it is missing) and those it would get."""

    topic: Topic
    partitions_now: int
    partitions_wanted: int


async def plan(topics: Iterable[Topic], settings: OperatorSettings) -> list[Planned]:
    """What is there of the topics; raises `Away`."""
    wanted = list(topics)
    async with _Admin(settings) as admin:
        known = await _partitions(admin)
    return [Planned(topic, known.get(topic.name, 0), topic.partitions or settings.topic_partitions) for topic in wanted]


async def create(topics: Iterable[Topic], settings: OperatorSettings) -> list[str]:
    """Create what is missing, in one call, and return its names; raises `Away`, or what the brokers refuse."""
    wanted = {topic.name: _new(topic, settings) for topic in topics}
    async with _Admin(settings) as admin:
        answer = await admin.create_topics(list(wanted.values()))
    created = []
    for name, code, *reason in answer.topic_errors:
        if code == 0:
            created.append(name)
        elif code != _EXISTS:
            raise for_code(code)(f"topic {name}: {' '.join(str(part) for part in reason)}")
    return created


def _new(topic: Topic, settings: OperatorSettings) -> NewTopic:
    config = {**topic.config, "min.insync.replicas": str(settings.topic_min_insync_replicas)}
    return NewTopic(
        topic.name,
        topic.partitions or settings.topic_partitions,
        settings.topic_replication_factor,
        topic_configs=config,
    )


async def _partitions(admin: AIOKafkaAdminClient) -> Mapping[str, int]:
    names = await admin.list_topics()
    return {found["topic"]: len(found["partitions"]) for found in await admin.describe_topics(list(names))}


class _Admin:
    """An admin client for the length of a `with`; what the brokers do not answer is `Away`."""

    def __init__(self, settings: OperatorSettings) -> None:
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
